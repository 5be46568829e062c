// Makes a user; the one-time sign-in link comes next.

import { Form, Input, Modal, Select } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { ApiError, post } from "../../api/client";
import type { Role, User } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { useAction } from "../useAction";

interface Values {
  username: string;
  display_name?: string;
  email?: string;
  role: Role;
}

interface Props {
  isOpen: boolean;
  onClose: () => void;
  onCreated: (user: User) => void;
}

export function CreateUserDialog({ isOpen, onClose, onCreated }: Props) {
  const { text } = useWords();
  const words = text.users;
  const [form] = Form.useForm<Values>();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();

  const create = async (values: Values) => {
    try {
      const user = await post<User>("/api/users/", values);
      await cache.invalidateQueries({ queryKey: ["users"] });
      onCreated(user);
    } catch (error) {
      if (error instanceof ApiError) {
        const marked = error.problems.filter((problem) => problem.field !== null);
        form.setFields(
          marked.map((problem) => ({
            name: problem.field as keyof Values,
            errors: [sayProblem(text, problem)],
          })),
        );
      }
      throw error;
    }
  };
  return (
    <Modal
      open={isOpen}
      title={words.create}
      okText={words.create}
      confirmLoading={isBusy}
      onOk={() => form.submit()}
      onCancel={onClose}
      afterOpenChange={(open) =>
        open ? form.getFieldInstance("username")?.focus() : form.resetFields()
      }
      forceRender
    >
      <Form<Values>
        form={form}
        layout="vertical"
        initialValues={{ role: "member" }}
        scrollToFirstError={{ focus: true }}
        onFinish={(values) => void run(() => create(values))}
      >
        <Form.Item
          name="username"
          label={words.username}
          extra={words.usernameHelp}
          rules={[
            { required: true, message: words.usernameNeeded },
            { pattern: /^[A-Za-z0-9][\w.-]{0,95}$/, message: words.usernameBad },
          ]}
        >
          <Input autoComplete="off" />
        </Form.Item>
        <Form.Item name="display_name" label={words.displayName}>
          <Input autoComplete="off" />
        </Form.Item>
        <Form.Item name="email" label={words.email}>
          <Input type="email" autoComplete="off" />
        </Form.Item>
        <Form.Item name="role" label={words.role}>
          <Select
            options={(["member", "operator", "administrator"] as const).map((value) => ({
              value,
              label: text.role[value],
            }))}
          />
        </Form.Item>
      </Form>
    </Modal>
  );
}
