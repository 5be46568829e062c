// Makes something secret by a form of a name, what the page adds, and an end; then shows it this
// one time.

import { Alert, Button, Form, Input, Modal, Select } from "antd";
import { useState, type ReactNode } from "react";
import { useWords } from "../i18n";
import { CodeBlock } from "../widgets/CodeBlock";
import { useAction } from "./useAction";

const NO_END = 0; // a Select has no null among its values
const ENDS = [7, 30, 90, 365];

interface SecretWords {
  make: string;
  made: string;
  madeText: string;
  name: string;
  nameNeeded: string;
  expires: string;
  days: (days: number) => string;
  noEnd: string;
}

interface Named {
  name: string;
  expires_in_days: number | null;
}

interface Props<Extra> {
  words: SecretWords;
  isOpen: boolean;
  onClose: () => void;
  initial: Extra;
  make: (values: Named & Extra) => Promise<string>;
  children: ReactNode;
}

export function MakeSecretDialog<Extra extends object>(props: Props<Extra>) {
  const { words, isOpen, onClose, initial } = props;
  const { text } = useWords();
  const [form] = Form.useForm<Named & Extra>();
  const [made, setMade] = useState<string | null>(null);
  const { run, isBusy } = useAction();

  const make = (values: Named & Extra) =>
    run(async () => {
      setMade(await props.make({ ...values, expires_in_days: values.expires_in_days || null }));
    });
  const close = () => {
    setMade(null);
    form.resetFields();
    onClose();
  };
  return (
    <Modal
      open={isOpen}
      title={made ? words.made : words.make}
      onCancel={close}
      forceRender
      footer={
        made ? (
          <Button type="primary" onClick={close}>
            {text.close}
          </Button>
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
          <CodeBlock code={made} label={words.made} isWrapped />
        </>
      )}
      <Form
        form={form}
        hidden={made !== null}
        layout="vertical"
        requiredMark={false}
        initialValues={{ expires_in_days: 90, ...initial }}
        scrollToFirstError={{ focus: true }}
        onFinish={(values: Named & Extra) => void make(values)}
      >
        <Form.Item
          name="name"
          label={words.name}
          rules={[{ required: true, whitespace: true, message: words.nameNeeded }]}
        >
          <Input maxLength={80} autoComplete="off" />
        </Form.Item>
        {props.children}
        <Form.Item name="expires_in_days" label={words.expires}>
          <Select
            options={[
              ...ENDS.map((value) => ({ value, label: words.days(value) })),
              { value: NO_END, label: words.noEnd },
            ]}
          />
        </Form.Item>
      </Form>
    </Modal>
  );
}
