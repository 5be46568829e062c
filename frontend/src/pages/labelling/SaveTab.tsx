// Saves what was labelled: a revision of the dataset, a new dataset, or a file.

import { App, Button, Form, Input, Radio } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { ApiError, post } from "../../api/client";
import type { LabellingDetail, LabelSaved } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { LinkButton } from "../../widgets/LinkButton";
import { DownloadOutlined } from "../../widgets/icons";
import { useAction } from "../useAction";

interface Values {
  format: string;
  rest: "keep" | "drop";
  target: "revision" | "new";
  new_name?: string;
  visibility: "public" | "private";
}

export function SaveTab({ project }: { project: LabellingDetail }) {
  const { text } = useWords();
  const words = text.labelling.save;
  const { message } = App.useApp();
  const [form] = Form.useForm<Values>();
  const [saved, setSaved] = useState<LabelSaved | null>(null);
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const format = Form.useWatch("format", form) ?? project.formats[0];
  const rest = Form.useWatch("rest", form) ?? "keep";
  const target = Form.useWatch("target", form);
  const address = `/api/labelling/projects/${project.id}`;

  const save = async ({ target: where, new_name: name, ...wish }: Values) => {
    try {
      const body = { ...wish, new_name: where === "new" ? (name ?? "") : "" };
      const made = await post<LabelSaved>(`${address}/save/`, body);
      setSaved(made);
      void message.success(words.saved);
      for (const key of ["repo", "repos", "rows", "report"])
        void cache.invalidateQueries({ queryKey: [key] });
    } catch (error) {
      const field = error instanceof ApiError ? error.body.field : null;
      if (error instanceof ApiError && (field === "name" || field === "new_name")) {
        form.setFieldValue("target", "new");
        form.setFields([{ name: "new_name", errors: [sayProblem(text, error.body)] }]);
      }
      throw error;
    }
  };
  return (
    <section className="panel">
      <Form<Values>
        form={form}
        layout="vertical"
        style={{ maxWidth: 560 }}
        initialValues={{
          format: project.formats[0],
          rest: "keep",
          target: "revision",
          visibility: "private",
        }}
        onFinish={(values) => void run(() => save(values))}
      >
        <Form.Item name="format" label={words.format}>
          <Radio.Group
            vertical
            options={project.formats.map((value) => ({
              value,
              label: words.formats[value] ?? value,
            }))}
          />
        </Form.Item>
        <Form.Item name="rest" label={words.rest}>
          <Radio.Group
            options={[
              { value: "keep", label: words.keep },
              { value: "drop", label: words.drop },
            ]}
          />
        </Form.Item>
        <Form.Item name="target" label={words.target}>
          <Radio.Group
            vertical
            options={[
              { value: "revision", label: words.revision(project.dataset) },
              { value: "new", label: words.fresh },
            ]}
          />
        </Form.Item>
        {target === "new" && (
          <>
            <Form.Item
              name="new_name"
              label={words.name}
              rules={[{ required: true, message: words.nameNeeded }]}
            >
              <Input maxLength={96} />
            </Form.Item>
            <Form.Item name="visibility" label={words.visibility}>
              <Radio.Group
                options={[
                  { value: "private", label: text.private },
                  { value: "public", label: text.public },
                ]}
              />
            </Form.Item>
          </>
        )}
        <p className="muted small">{words.record}</p>
        <div className="row">
          <Button type="primary" htmlType="submit" loading={isBusy}>
            {words.save}
          </Button>
          <Button
            icon={<DownloadOutlined />}
            href={`${address}/export/${format}/?rest=${rest}`}
            download
          >
            {words.download}
          </Button>
          {saved && (
            <LinkButton to={`/datasets/${saved.dataset}`}>
              {words.open} <span className="mono">{saved.revision.slice(0, 10)}</span>
            </LinkButton>
          )}
        </div>
        {saved && (
          <p className="muted" role="status">
            {saved.message}
          </p>
        )}
      </Form>
    </section>
  );
}
