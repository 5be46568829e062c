// The last step of an upload: its name, who sees it, and saving it into the hub.

import { Button, Form, Input, Radio } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useNavigate } from "react-router";
import { ApiError } from "../../api/client";
import { upload, type UploadProgress } from "../../api/upload";
import { queries } from "../../api/queries";
import type { DatasetReport, RepoDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayProblem } from "../../i18n/said";
import { useAction } from "../useAction";
import { Sending } from "./UploadDatasetPage";

interface Values {
  name: string;
  summary?: string;
  visibility: "public" | "private";
}

const NAME = /^[A-Za-z0-9][\w.-]{0,95}$/;

/** A name the hub takes, made from the file's. */
export function nameFrom(fileName: string): string {
  const stem = fileName.replace(/\.[^.]*$/, "").replace(/[^\w.-]+/g, "-");
  return stem.replace(/^[^A-Za-z0-9]+/, "").slice(0, 96);
}

export function SaveDatasetForm({ file, report }: { file: File; report: DatasetReport }) {
  const { text } = useWords();
  const words = text.hub.upload;
  const [form] = Form.useForm<Values>();
  const [progress, setProgress] = useState<UploadProgress | null>(null);
  const { run, isBusy } = useAction();
  const cache = useQueryClient();
  const navigate = useNavigate();

  const save = async (values: Values) => {
    const body = new FormData();
    for (const [key, value] of Object.entries(values)) if (value) body.set(key, value as string);
    body.set("file", file);
    try {
      const repo = await upload<RepoDetail>("/api/hub/datasets/", body, setProgress);
      await cache.invalidateQueries({ queryKey: ["repos"] });
      await cache.invalidateQueries({ queryKey: ["me"] });
      cache.setQueryData(queries.repo("dataset", repo.id).queryKey, repo);
      await navigate(`/datasets/${repo.id}${report.num_bad > 0 ? "?tab=report" : ""}`);
    } catch (error) {
      setProgress(null);
      if (
        error instanceof ApiError &&
        (error.body.field === "name" || error.code === "name_taken")
      ) {
        form.setFields([{ name: "name", errors: [sayProblem(text, error.body)] }]);
        form.getFieldInstance("name")?.focus();
      }
      throw error;
    }
  };
  return (
    <section className="panel">
      <Form<Values>
        form={form}
        layout="vertical"
        initialValues={{ name: nameFrom(file.name), visibility: "private" }}
        scrollToFirstError={{ focus: true }}
        onFinish={(values) => void run(() => save(values))}
      >
        <Form.Item
          name="name"
          label={words.name}
          extra={words.nameHelp}
          rules={[
            { required: true, message: words.nameNeeded },
            { pattern: NAME, message: words.nameBad },
          ]}
        >
          <Input />
        </Form.Item>
        <Form.Item name="summary" label={words.summary}>
          <Input maxLength={200} />
        </Form.Item>
        <Form.Item name="visibility" label={words.visibility}>
          <Radio.Group
            options={[
              { value: "private", label: text.private },
              { value: "public", label: text.public },
            ]}
          />
        </Form.Item>
        {isBusy && <Sending progress={progress} />}
        <Button type="primary" htmlType="submit" loading={isBusy}>
          {report.num_bad > 0 ? words.saveAnyway : words.save}
        </Button>
        {report.num_bad > 0 && (
          <p className="muted small" style={{ marginBottom: 0 }}>
            {words.keepLater}
          </p>
        )}
      </Form>
    </section>
  );
}
