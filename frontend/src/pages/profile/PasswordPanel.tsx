// Chooses or changes the password.

import { Button, Form, Input } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { ApiError, post } from "../../api/client";
import type { Me } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { useAction } from "../useAction";

interface Values {
  current_password?: string;
  new_password: string;
}

export function PasswordPanel({ me }: { me: Me }) {
  const { text } = useWords();
  const words = text.profile;
  const [form] = Form.useForm<Values>();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();

  const save = async (values: Values) => {
    try {
      await post("/api/me/password/", values);
      form.resetFields();
      await cache.invalidateQueries({ queryKey: ["me"] });
    } catch (error) {
      const field = error instanceof ApiError ? error.body.field : null;
      if (error instanceof ApiError && (field === "current_password" || field === "new_password")) {
        form.setFields([{ name: field, errors: [sayProblem(text, error.body)] }]);
        form.getFieldInstance(field)?.focus();
      }
      throw error;
    }
  };
  return (
    <section className="panel">
      <h2 className="section-title">{me.has_password ? words.password : words.setPassword}</h2>
      {!me.has_password && <p className="muted">{words.setPasswordText}</p>}
      <Form<Values>
        form={form}
        layout="vertical"
        requiredMark={false}
        scrollToFirstError={{ focus: true }}
        onFinish={(values) => void run(() => save(values), words.changed)}
        style={{ maxWidth: 380 }}
      >
        {/* Browsers' password stores want to know whose password this is. */}
        <input type="text" hidden readOnly autoComplete="username" value={me.username} />
        {me.has_password && (
          <Form.Item
            name="current_password"
            label={words.current}
            rules={[{ required: true, message: words.currentNeeded }]}
          >
            <Input.Password autoComplete="current-password" />
          </Form.Item>
        )}
        <Form.Item
          name="new_password"
          label={words.new}
          extra={words.newHelp}
          rules={[{ required: true, min: 10, message: words.tooShort }]}
        >
          <Input.Password autoComplete="new-password" />
        </Form.Item>
        <Button htmlType="submit" loading={isBusy}>
          {me.has_password ? words.change : words.setPassword}
        </Button>
      </Form>
    </section>
  );
}
