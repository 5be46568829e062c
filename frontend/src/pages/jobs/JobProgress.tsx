// How far a job is: the stage in words, the bar, and what is left.

import { Progress } from "antd";
import type { Job, Progress as Stage } from "../../api/shapes";
import { useWords } from "../../i18n";

interface Props {
  job: Job;
  /** Newer than what the job says, where the page is live. */
  progress?: Stage | null;
  isSmall?: boolean;
}

export function JobProgress({ job, progress, isSmall = false }: Props) {
  const { text, format } = useWords();
  const words = text.jobs;
  const stage = progress ?? job.progress;
  if (job.status === "queued") {
    return (
      <span className="muted small">
        {job.queue_position === null ? words.queuedText : words.position(job.queue_position)}
      </span>
    );
  }
  if (!stage) return null;
  const name = words.stage[stage.stage] ?? stage.stage;
  const percent = stage.total ? Math.floor((100 * stage.done) / stage.total) : undefined;
  const shown = stage.unit === "byte" ? format.bytes : (value: number) => format.number(value);
  const unit = stage.unit === "byte" ? "" : (words.unit[stage.unit] ?? stage.unit);
  return (
    <div>
      <div className="row between small">
        <span>
          {name}
          {!isSmall && stage.total ? (
            <span className="muted num">
              {" · "}
              {words.progressOf(shown(stage.done), shown(stage.total), unit)}
            </span>
          ) : null}
        </span>
        {stage.eta_s !== null && stage.eta_s !== undefined && (
          <span className="muted num">{words.eta(format.duration(stage.eta_s))}</span>
        )}
      </div>
      {percent !== undefined && (
        <Progress
          percent={percent}
          size={isSmall ? "small" : "default"}
          status={job.status === "running" ? "active" : "normal"}
          aria-label={name}
        />
      )}
    </div>
  );
}
