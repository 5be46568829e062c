// Where from, what, and where to: begins an import, and keeps what was typed when it is refused.

import { Button, Form, Input, Radio, Select } from "antd";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useRef } from "react";
import { useSearchParams } from "react-router";
import { ApiError, post } from "../../api/client";
import { importQueries } from "../../api/importQueries";
import { queries } from "../../api/queries";
import type { Import, Me } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { useAction } from "../useAction";
import { EXAMPLES, isDrive, isGguf, nameFromSource, type Example } from "./source";

interface Values {
  source: string;
  kind: "model" | "dataset";
  namespace: string;
  name: string;
  visibility: "private" | "class" | "public";
  token?: string;
}

const NAME = /^[A-Za-z0-9][\w.-]{0,95}$/;
const FIELDS: readonly string[] = ["source", "kind", "namespace", "name", "visibility", "token"];

function useOwners(me: Me): { value: string; label: string }[] {
  const { text } = useWords();
  const { data: organizations } = useQuery(queries.organizations());
  const mine = (organizations ?? []).filter(({ my_role }) =>
    ["contributor", "admin"].includes(my_role),
  );
  return [
    { value: me.username, label: text.imports.me(me.username) },
    ...mine.map(({ name }) => ({ value: name, label: name })),
  ];
}

export function ImportForm({ me }: { me: Me }) {
  const { text } = useWords();
  const words = text.imports;
  const [params] = useSearchParams();
  const [form] = Form.useForm<Values>();
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const owners = useOwners(me);
  const ownName = useRef(false);
  const source = Form.useWatch("source", form) ?? "";
  const kind = params.get("kind") === "dataset" ? "dataset" : "model";

  const begin = async (values: Values) => {
    const body = isDrive(values.source) ? { ...values, token: undefined } : values;
    try {
      await post<Import>("/api/imports/", body);
    } catch (error) {
      if (error instanceof ApiError) {
        const marked = error.problems.filter(({ field }) => field && FIELDS.includes(field));
        form.setFields(
          marked.map((problem) => ({
            name: problem.field as keyof Values,
            errors: [sayProblem(text, problem)],
          })),
        );
      }
      throw error;
    }
    form.resetFields(["source", "name", "token"]);
    ownName.current = false;
    await cache.invalidateQueries({ queryKey: importQueries.list().queryKey });
  };
  const onSource = (value: string) => {
    if (!ownName.current) form.setFieldValue("name", nameFromSource(value));
    if (isGguf(value)) form.setFieldValue("kind", "model");
  };
  return (
    <section className="panel" aria-label={words.formTitle}>
      <h2 className="section-title">{words.formTitle}</h2>
      <Form<Values>
        form={form}
        layout="vertical"
        initialValues={{
          kind,
          namespace: me.username,
          visibility: "private",
          source: "",
          name: "",
        }}
        scrollToFirstError={{ focus: true }}
        onValuesChange={(changed: Partial<Values>) => {
          if (changed.source !== undefined) onSource(changed.source);
          if (changed.name !== undefined) ownName.current = changed.name !== "";
        }}
        onFinish={(values) => void run(() => begin(values), words.begun)}
      >
        <Form.Item
          name="source"
          label={words.from}
          rules={[{ required: true, whitespace: true, message: words.sourceNeeded }]}
          extra={
            <Examples
              onChoose={(value) => {
                form.setFields([{ name: "source", value, errors: [] }]);
                onSource(value);
                form.getFieldInstance("source")?.focus();
              }}
            />
          }
        >
          <Input
            className="mono"
            placeholder="hf://owner/name"
            maxLength={2000}
            autoComplete="off"
            spellCheck={false}
          />
        </Form.Item>
        <Form.Item name="kind" label={words.kind}>
          <Radio.Group
            options={[
              { value: "model", label: words.model },
              { value: "dataset", label: words.dataset },
            ]}
          />
        </Form.Item>
        <div className="import-target">
          <Form.Item name="namespace" label={words.into}>
            <Select options={owners} />
          </Form.Item>
          <Form.Item
            name="name"
            label={words.name}
            extra={words.nameHelp}
            rules={[
              { required: true, message: words.nameNeeded },
              { pattern: NAME, message: words.nameBad },
            ]}
          >
            <Input autoComplete="off" spellCheck={false} />
          </Form.Item>
        </div>
        <Form.Item name="visibility" label={words.visibility}>
          <Radio.Group
            options={(["private", "class", "public"] as const).map((value) => ({
              value,
              label: text.hub.seenBy[value],
            }))}
          />
        </Form.Item>
        {!isDrive(source) && (
          <Form.Item name="token" label={words.token} extra={words.tokenHelp}>
            <Input.Password autoComplete="off" maxLength={1000} placeholder={text.optional} />
          </Form.Item>
        )}
        <Button type="primary" htmlType="submit" loading={isBusy}>
          {words.begin}
        </Button>
      </Form>
    </section>
  );
}

function Examples({ onChoose }: { onChoose: (source: string) => void }) {
  const { text } = useWords();
  const words = text.imports;
  return (
    <div className="import-examples">
      <span className="small">{words.examples}</span>
      {(Object.keys(EXAMPLES) as Example[]).map((example) => (
        <Button
          key={example}
          size="small"
          title={EXAMPLES[example]}
          onClick={() => onChoose(EXAMPLES[example])}
        >
          {words.example[example]}
        </Button>
      ))}
    </div>
  );
}
