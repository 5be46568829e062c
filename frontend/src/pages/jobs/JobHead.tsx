// A job's name, which its owner may change, its state in words, and what can be done with it.

import { DownOutlined, RedoOutlined, StopOutlined } from "../../widgets/icons";
import { App, Button, Dropdown, Space, Typography } from "antd";
import { useQueryClient } from "@tanstack/react-query";
import { patch, post } from "../../api/client";
import { queries } from "../../api/queries";
import type { Job } from "../../api/shapes";
import { useWords } from "../../i18n";
import { PageHead } from "../../widgets/PageHead";
import { RelativeTime } from "../../widgets/RelativeTime";
import { StateTag } from "../../widgets/StateTag";
import { useAction } from "../useAction";
import { useUrlState } from "../useUrlState";

export function JobHead({ job }: { job: Job }) {
  const { text } = useWords();
  const cache = useQueryClient();
  const { run } = useAction();
  const keep = (next: Job) => cache.setQueryData(queries.job(job.id).queryKey, next);
  const rename = (name: string) => {
    const wish = name.trim();
    if (wish && wish !== job.name)
      void run(async () => keep(await patch<Job>(`/api/jobs/${job.id}/`, { name: wish })));
  };
  return (
    <PageHead
      title={job.name}
      heading={
        <Typography.Title
          level={1}
          style={{ margin: 0 }}
          editable={{
            onChange: rename,
            tooltip: text.jobs.rename,
            triggerType: ["icon"],
            maxLength: 120,
          }}
        >
          {job.name}
        </Typography.Title>
      }
      lead={
        <span className="row">
          <StateTag state={job.status} word={text.status[job.status]} />
          <RelativeTime iso={job.status_since} />
          <span>{text.jobs.kind[job.kind] ?? job.kind}</span>
          {job.runs.length > 1 && <span>{text.jobs.runIndex(job.run.index)}</span>}
        </span>
      }
      actions={<JobActions job={job} keep={keep} />}
    />
  );
}

function JobActions({ job, keep }: { job: Job; keep: (next: Job) => void }) {
  const { text } = useWords();
  const words = text.jobs;
  const { modal } = App.useApp();
  const [, write] = useUrlState();
  const { isBusy, run } = useAction();

  const stop = () =>
    modal.confirm({
      title: words.stop.title,
      content: words.stop.text,
      okText: words.stop.ok,
      okButtonProps: { danger: true },
      onOk: () => run(async () => keep(await post<Job>(`/api/jobs/${job.id}/stop/`))),
    });
  const retry = (resume: boolean) =>
    run(
      async () => {
        keep(await post<Job>(`/api/jobs/${job.id}/retry/`, { resume }));
        write({ run: "" });
      },
      words.retry.done(job.runs.length + 1),
    );

  if (job.can_stop) {
    return (
      <Button danger icon={<StopOutlined />} onClick={stop}>
        {words.stop.verb}
      </Button>
    );
  }
  if (!job.can_retry) return null;
  if (!job.can_resume) {
    return (
      <Button icon={<RedoOutlined />} loading={isBusy} onClick={() => void retry(false)}>
        {words.retry.verb}
      </Button>
    );
  }
  const fresh = { key: "fresh", label: words.retry.fresh, onClick: () => void retry(false) };
  return (
    <Space.Compact>
      <Button icon={<RedoOutlined />} loading={isBusy} onClick={() => void retry(true)}>
        {words.retry.resume}
      </Button>
      <Dropdown menu={{ items: [fresh] }} trigger={["click"]}>
        <Button icon={<DownOutlined />} aria-label={words.retry.fresh} />
      </Dropdown>
    </Space.Compact>
  );
}
