// One job in one line: its name, its state and since when, how far it is or why it ended, what it cost.

import { Progress } from "antd";
import { Link } from "react-router";
import type { Job } from "../../api/shapes";
import { useWords } from "../../i18n";
import { RelativeTime } from "../../widgets/RelativeTime";
import { StateTag } from "../../widgets/StateTag";

export function JobLine({ job }: { job: Job }) {
  const { text, format } = useWords();
  const { progress } = job;
  const percent = progress?.total ? Math.floor((100 * progress.done) / progress.total) : undefined;
  const isLive = job.status === "running";
  const why = job.ended_at && job.status !== "succeeded" ? text.reason[job.reason] : undefined;
  return (
    <Link to={`/jobs/${job.id}`} className="job-line">
      <span className="what">
        <span className="name ellipsis" style={{ display: "block" }}>
          {job.name}
        </span>
        <span className="muted small">
          <StateTag state={job.status} word={text.status[job.status]} />{" "}
          <RelativeTime iso={job.status_since} />
          {why && ` · ${why}`}
          {isLive && progress && ` · ${text.jobs.stage[progress.stage] ?? progress.stage}`}
          {isLive &&
            progress?.eta_s != null &&
            ` · ${text.jobs.eta(format.duration(progress.eta_s))}`}
        </span>
        {isLive && percent !== undefined && (
          <Progress percent={percent} size="small" status="active" aria-label={job.name} />
        )}
      </span>
      <span className="num muted">{text.points(format.points(job.cost_mpoints))}</span>
    </Link>
  );
}
