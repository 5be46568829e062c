// Makes a token, then shows it this one time.

import { Alert, Button, Checkbox, Form, Input, Modal, Select } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { post } from "../../api/client";
import type { Me, NewToken } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CodeBlock } from "../../widgets/CodeBlock";
import { useAction } from "../useAction";

interface Values {
  name: string;
  scopes: string[];
  expires_in_days: number;
}

interface Props {
  me: Me;
  isOpen: boolean;
  onClose: () => void;
}

// What the form sends for "no end": a Select has no null among its values.
const NO_END = 0;

export function MakeTokenDialog({ me, isOpen, onClose }: Props) {
  const { text } = useWords();
  const words = text.profile;
  const [form] = Form.useForm<Values>();
  const [made, setMade] = useState<NewToken | null>(null);
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const scopes = ["read", "write", "chat", ...(me.role === "member" ? [] : ["admin"])];

  const make = (values: Values) =>
    run(async () => {
      const body = { ...values, expires_in_days: values.expires_in_days || null };
      setMade(await post<NewToken>("/api/tokens/", body));
      await cache.invalidateQueries({ queryKey: ["tokens"] });
    });
  const close = () => {
    setMade(null);
    form.resetFields();
    onClose();
  };
  return (
    <Modal
      open={isOpen}
      title={made ? words.newToken : words.makeToken}
      onCancel={close}
      forceRender
      footer={
        made ? (
          <Button type="primary" onClick={close}>
            {text.close}
          </Button>
        ) : (
          <Button type="primary" loading={isBusy} onClick={() => form.submit()}>
            {words.makeToken}
          </Button>
        )
      }
    >
      {made && (
        <>
          <Alert type="warning" showIcon title={words.newTokenText} style={{ marginBottom: 12 }} />
          <CodeBlock code={made.token} label={words.newToken} />
        </>
      )}
      <Form<Values>
        form={form}
        hidden={made !== null}
        layout="vertical"
        requiredMark={false}
        initialValues={{ scopes: ["read", "write", "chat"], expires_in_days: 90 }}
        scrollToFirstError={{ focus: true }}
        onFinish={(values) => void make(values)}
      >
        <Form.Item
          name="name"
          label={words.tokenName}
          rules={[{ required: true, message: words.tokenNameNeeded }]}
        >
          <Input maxLength={80} autoComplete="off" />
        </Form.Item>
        <Form.Item
          name="scopes"
          label={words.scopes}
          rules={[{ required: true, type: "array", min: 1, message: words.scopesNeeded }]}
        >
          <Checkbox.Group
            style={{ flexDirection: "column", gap: 4 }}
            options={scopes.map((value) => ({ value, label: words.scope[value] }))}
          />
        </Form.Item>
        <Form.Item name="expires_in_days" label={words.expires}>
          <Select
            options={[
              ...[7, 30, 90, 365].map((value) => ({ value, label: words.days(value) })),
              { value: NO_END, label: words.noEnd },
            ]}
          />
        </Form.Item>
      </Form>
    </Modal>
  );
}
