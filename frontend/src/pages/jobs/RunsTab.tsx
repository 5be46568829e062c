// Every attempt of a job.

import { Button } from "antd";
import type { Job, Run } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayTold } from "../../i18n/told";
import { RelativeTime } from "../../widgets/RelativeTime";
import { StateTag } from "../../widgets/StateTag";
import { useUrlState } from "../useUrlState";
import { DataTable } from "../../widgets/DataTable";

export function RunsTab({ job, run: shown }: { job: Job; run: Run }) {
  const { text, format, language } = useWords();
  const { col } = text.jobs;
  const [, write] = useUrlState();
  const runs = [...job.runs].sort((a, b) => b.index - a.index);
  const open = (run: Run) =>
    write({ run: run.id === job.run.id ? "" : String(run.index), tab: "" });
  return (
    <div className="panel flush">
      <DataTable<Run>
        rowKey="id"
        dataSource={runs}
        pagination={false}
        columns={[
          {
            title: col.run,
            key: "run",
            render: (_, run) => (
              <Button type="link" disabled={run.id === shown.id} onClick={() => open(run)}>
                {text.jobs.runIndex(run.index)}
              </Button>
            ),
          },
          {
            title: col.status,
            key: "status",
            render: (_, run) => <StateTag state={run.status} word={text.status[run.status]} />,
          },
          {
            title: col.why,
            key: "why",
            render: (_, run) => (
              <span className="muted">
                {text.reason[run.reason] ?? sayTold(language, run.message, run.told)}
              </span>
            ),
          },
          { title: col.node, dataIndex: "node", className: "mono" },
          {
            title: col.created,
            key: "created",
            render: (_, run) => <RelativeTime iso={run.created_at} />,
          },
          {
            title: col.cost,
            key: "cost",
            align: "right",
            className: "num",
            render: (_, run) => format.points(run.cost_mpoints),
          },
        ]}
      />
    </div>
  );
}
