// Upload a dataset: drop a file, see at once which rows are good, then save it.

import { InboxOutlined } from "../../widgets/icons";
import { Button, Progress, Upload } from "antd";
import { useEffect, useState } from "react";
import { upload, type UploadProgress } from "../../api/upload";
import type { DatasetReport } from "../../api/shapes";
import { useWords } from "../../i18n";
import { CodeBlock } from "../../widgets/CodeBlock";
import { Fault } from "../../widgets/Fault";
import { PageHead } from "../../widgets/PageHead";
import { ReportView } from "../../widgets/ReportView";
import { WithCode } from "../../widgets/WithCode";
import { SaveDatasetForm } from "./SaveDatasetForm";

const EXAMPLE = `{"messages": [{"role": "user", "content": "Who are you?"}, {"role": "assistant", "content": "I am Athanor Guide."}]}`;

type Check =
  | { state: "none" }
  | { state: "sending"; progress: UploadProgress | null }
  | { state: "checked"; report: DatasetReport }
  | { state: "failed"; error: unknown };

function useCheck(file: File | null): Check {
  const [check, setCheck] = useState<Check>({ state: "none" });
  useEffect(() => {
    if (!file) return;
    const stop = new AbortController();
    const form = new FormData();
    form.set("file", file);
    upload<DatasetReport>(
      "/api/hub/datasets/check/",
      form,
      (progress) => setCheck({ state: "sending", progress }),
      stop.signal,
    ).then(
      (report) => !stop.signal.aborted && setCheck({ state: "checked", report }),
      (error: unknown) => !stop.signal.aborted && setCheck({ state: "failed", error }),
    );
    return () => stop.abort();
  }, [file]);
  return file ? check : { state: "none" };
}

export function UploadDatasetPage() {
  const { text, format } = useWords();
  const words = text.hub.upload;
  const [file, setFile] = useState<File | null>(null);
  const check = useCheck(file);
  return (
    <div className="page" style={{ maxWidth: 880 }}>
      <PageHead title={words.title} lead={<WithCode text={words.lead} />} />
      <div className="stack">
        {!file && (
          <div className="panel">
            <Upload.Dragger
              accept=".jsonl,.ndjson,.json,.parquet,.csv,.tsv,.txt"
              showUploadList={false}
              beforeUpload={(chosen) => {
                setFile(chosen);
                return false;
              }}
            >
              <p style={{ fontSize: 30, margin: 0, color: "var(--ember)" }}>
                <InboxOutlined />
              </p>
              <p style={{ fontWeight: 600 }}>{words.drop}</p>
              <p className="muted">{words.dropText}</p>
            </Upload.Dragger>
            <p className="muted" style={{ marginBottom: 0 }}>
              {words.example}
            </p>
            <CodeBlock code={EXAMPLE} label={words.example} />
          </div>
        )}
        {file && (
          <div className="panel">
            <div className="row between" style={{ marginBottom: 14 }}>
              <span>
                <b className="break">{file.name}</b>{" "}
                <span className="muted num">{format.bytes(file.size)}</span>
              </span>
              <Button onClick={() => setFile(null)}>{words.another}</Button>
            </div>
            {check.state === "sending" && <Sending progress={check.progress} />}
            {check.state === "failed" && <Fault error={check.error} />}
            {check.state === "checked" && check.report.num_rows === 0 && <p>{words.empty}</p>}
            {check.state === "checked" && check.report.num_rows > 0 && (
              <ReportView report={check.report} />
            )}
          </div>
        )}
        {file && check.state === "checked" && check.report.num_rows > 0 && (
          <SaveDatasetForm file={file} report={check.report} />
        )}
      </div>
    </div>
  );
}

export function Sending({ progress }: { progress: UploadProgress | null }) {
  const { text, format } = useWords();
  const words = text.hub.upload;
  const ratio = progress?.total_bytes ? progress.sent_bytes / progress.total_bytes : 0;
  const isSent = ratio >= 1 || !progress;
  const line = isSent
    ? words.checking
    : words.sending(format.percent(ratio), format.bytes(progress.bytes_per_s));
  return (
    <div role="status">
      <span className="num">{line}</span>
      <Progress
        percent={Math.floor(ratio * 100)}
        status="active"
        showInfo={false}
        aria-label={line}
      />
    </div>
  );
}
