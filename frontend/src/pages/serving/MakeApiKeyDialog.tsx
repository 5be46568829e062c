// Makes an API key, then shows it this one time.

import { Alert, Button, Form, Input, InputNumber, Modal, Select } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { post } from "../../api/client";
import { queries } from "../../api/queries";
import type { NewApiKey } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CodeBlock } from "../../widgets/CodeBlock";
import { useAction } from "../useAction";
import { useServingWords } from "./words";

interface Values {
  name: string;
  models: string[];
  points: number | null;
  expires_in_days: number;
}

const NO_END = 0; // a Select has no null among its values
const MPOINTS = 1000;

export function MakeApiKeyDialog({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  const { text } = useWords();
  const words = useServingWords().keys;
  const [form] = Form.useForm<Values>();
  const [made, setMade] = useState<NewApiKey | null>(null);
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const models = useQuery({ ...queries.playgroundModels(), enabled: isOpen });

  const make = ({ name, models: wanted, points, expires_in_days }: Values) =>
    run(async () => {
      const body = {
        name,
        models: wanted,
        budget_mpoints: points ? Math.round(points * MPOINTS) : null,
        expires_in_days: expires_in_days || null,
      };
      setMade(await post<NewApiKey>("/api/api-keys/", body));
      await cache.invalidateQueries({ queryKey: ["api-keys"] });
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
          <CodeBlock code={made.key} label={words.made} />
        </>
      )}
      <Form<Values>
        form={form}
        hidden={made !== null}
        layout="vertical"
        requiredMark={false}
        initialValues={{ models: [], points: null, expires_in_days: 90 }}
        scrollToFirstError={{ focus: true }}
        onFinish={(values) => void make(values)}
      >
        <Form.Item
          name="name"
          label={words.name}
          rules={[{ required: true, whitespace: true, message: words.nameNeeded }]}
        >
          <Input maxLength={80} autoComplete="off" />
        </Form.Item>
        <Form.Item name="models" label={words.models} extra={words.modelsHint}>
          <Select
            mode="multiple"
            allowClear
            options={(models.data ?? []).map(({ id }) => ({ value: id, label: id }))}
          />
        </Form.Item>
        <Form.Item name="points" label={words.budget} extra={words.budgetHint}>
          <InputNumber min={0.001} max={1e12} suffix={words.points} style={{ width: "100%" }} />
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
