// Adds a public key: pasted, or read from a file of any name.

import { useQueryClient } from "@tanstack/react-query";
import { Button, Form, Input, Modal, Upload } from "antd";
import { useState } from "react";
import { ApiError, post } from "../../api/client";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { UploadOutlined } from "../../widgets/icons";
import { useAction } from "../useAction";

interface Values {
  name: string;
  public_key: string;
}

export function AddKeyDialog({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  const { text } = useWords();
  const words = text.machines.keys;
  const [form] = Form.useForm<Values>();
  const [refused, setRefused] = useState<string>();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const close = () => {
    form.resetFields();
    setRefused(undefined);
    onClose();
  };
  const add = async (values: Values) => {
    const isDone = await run(async () => {
      try {
        await post("/api/ssh-keys/", values);
      } catch (error) {
        if (error instanceof ApiError) setRefused(sayProblem(text, error.body));
        throw error;
      }
      await cache.invalidateQueries({ queryKey: ["ssh-keys"] });
    }, words.added);
    if (isDone) close();
  };
  const read = async (file: File) => {
    form.setFieldValue("public_key", (await file.slice(0, 20_000).text()).trim());
    if (!form.getFieldValue("name")) form.setFieldValue("name", file.name.slice(0, 80));
    setRefused(undefined);
  };
  return (
    <Modal
      open={isOpen}
      title={words.add}
      okText={words.add}
      confirmLoading={isBusy}
      onCancel={close}
      onOk={() => form.submit()}
      forceRender
    >
      <Form<Values>
        form={form}
        name="ssh-key"
        layout="vertical"
        requiredMark={false}
        initialValues={{ name: "", public_key: "" }}
        onValuesChange={() => setRefused(undefined)}
        onFinish={(values) => void add(values)}
      >
        <Form.Item
          name="public_key"
          label={words.paste}
          extra={words.pasteHelp}
          help={refused}
          validateStatus={refused ? "error" : undefined}
        >
          <Input.TextArea rows={4} className="mono" spellCheck={false} />
        </Form.Item>
        <Form.Item>
          <Upload
            showUploadList={false}
            beforeUpload={(file) => {
              void read(file);
              return false;
            }}
          >
            <Button icon={<UploadOutlined />}>{words.file}</Button>
          </Upload>
        </Form.Item>
        <Form.Item name="name" label={words.name}>
          <Input maxLength={80} />
        </Form.Item>
      </Form>
    </Modal>
  );
}
