// Grants points to one person. Pressing twice grants once.

import { App, Form, Input, InputNumber, Modal } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { useRef } from "react";
import { post } from "../../api/client";
import type { StatementLine, User } from "../../api/shapes";
import { useWords } from "../../i18n";
import { LaunchKey } from "../../stores/launchKey";
import { useAction } from "../useAction";

interface Values {
  points: number;
  note?: string;
}

interface Props {
  user: User | null;
  onClose: () => void;
}

export function GrantDialog({ user, onClose }: Props) {
  const { text, format } = useWords();
  const words = text.users;
  const { message } = App.useApp();
  const [form] = Form.useForm<Values>();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const key = useRef(new LaunchKey());

  const grant = async ({ points, note = "" }: Values) => {
    if (!user) return;
    const body = { username: user.username, mpoints: Math.round(points * 1000), note };
    const isDone = await run(() =>
      post<StatementLine>("/api/points/grants/", body, {
        "Idempotency-Key": key.current.for(body),
      }),
    );
    if (!isDone) return;
    key.current = new LaunchKey();
    void message.success(words.granted(format.points(body.mpoints), user.username));
    await cache.invalidateQueries({ queryKey: ["users"] });
    await cache.invalidateQueries({ queryKey: ["points"] });
    onClose();
  };
  return (
    <Modal
      open={user !== null}
      title={user && words.grantTo(user.display_name || user.username)}
      okText={words.grant}
      confirmLoading={isBusy}
      onOk={() => form.submit()}
      onCancel={onClose}
      afterOpenChange={(isOpen) =>
        isOpen ? form.getFieldInstance("points")?.focus() : form.resetFields()
      }
      forceRender
    >
      <Form<Values> form={form} layout="vertical" onFinish={(values) => void grant(values)}>
        <Form.Item
          name="points"
          label={words.amount}
          rules={[{ required: true, type: "number", min: 0.001, message: words.amountNeeded }]}
        >
          <InputNumber<number> style={{ width: "100%" }} min={0} max={1_000_000} precision={3} />
        </Form.Item>
        <Form.Item name="note" label={words.note} extra={words.noteHelp}>
          <Input maxLength={200} />
        </Form.Item>
      </Form>
    </Modal>
  );
}
