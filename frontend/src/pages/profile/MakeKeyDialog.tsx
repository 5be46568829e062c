// Makes a pair of keys and shows its private half this one time.

import { useQueryClient } from "@tanstack/react-query";
import { Alert, Button, Form, Input, Modal } from "antd";
import { useState } from "react";
import { post } from "../../api/client";
import type { MadeSshKey } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CodeBlock } from "../../widgets/CodeBlock";
import { useAction } from "../useAction";

function save(text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = "athanor_ed25519";
  link.click();
  URL.revokeObjectURL(url);
}

export function MakeKeyDialog({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  const { text } = useWords();
  const words = text.machines.keys;
  const [form] = Form.useForm<{ name: string }>();
  const [made, setMade] = useState<MadeSshKey | null>(null);
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const close = () => {
    setMade(null);
    form.resetFields();
    onClose();
  };
  const make = (values: { name: string }) =>
    run(async () => {
      setMade(await post<MadeSshKey>("/api/ssh-keys/generate/", values));
      await cache.invalidateQueries({ queryKey: ["ssh-keys"] });
    });
  return (
    <Modal
      open={isOpen}
      title={made ? words.madeTitle : words.make}
      onCancel={close}
      forceRender
      footer={
        made ? (
          <>
            <Button onClick={() => save(made.private_key)}>{words.save}</Button>
            <Button type="primary" onClick={close}>
              {text.close}
            </Button>
          </>
        ) : (
          <Button type="primary" loading={isBusy} onClick={() => form.submit()}>
            {words.make}
          </Button>
        )
      }
    >
      {made && (
        <>
          <Alert type="warning" showIcon title={words.madeText} style={{ marginBottom: 12 }} />
          <CodeBlock code={made.private_key} label={words.madeTitle} />
        </>
      )}
      <Form
        form={form}
        name="ssh-pair"
        hidden={made !== null}
        layout="vertical"
        requiredMark={false}
        initialValues={{ name: "" }}
        onFinish={(values: { name: string }) => void make(values)}
      >
        <Form.Item name="name" label={words.name}>
          <Input maxLength={80} />
        </Form.Item>
      </Form>
    </Modal>
  );
}
