// The few numbers of a job that are looked at all the time: progress, time, cost, where it runs.

import { useEffect, useState } from "react";
import type { Job, Run } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayTold } from "../../i18n/told";
import type { RunStream } from "../../stores/runStream";
import { useStore } from "../../stores/useStore";
import { Figure } from "../../widgets/Figure";
import { JobProgress } from "./JobProgress";

function useElapsed(start: string | null, end: string | null): number | null {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!start || end) return;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [start, end]);
  if (!start) return null;
  return Math.max(0, ((end ? new Date(end).getTime() : now) - new Date(start).getTime()) / 1000);
}

export function JobSummary({ job, run, stream }: { job: Job; run: Run; stream: RunStream }) {
  const { text, format, language } = useWords();
  const words = text.jobs;
  useStore(stream);
  const elapsed = useElapsed(run.started_at, run.ended_at);
  const isLive = !run.ended_at && run.id === job.run.id;
  return (
    <section className="panel">
      {isLive && (
        <div style={{ marginBottom: 14 }}>
          <JobProgress job={job} progress={stream.progress} />
          {job.status === "queued" && (
            <span className="muted small"> {sayTold(language, job.message, job.told)}</span>
          )}
        </div>
      )}
      <div className="figures">
        <Figure
          label={isLive ? words.cost : words.finalCost}
          value={<span data-testid="cost">{format.points(job.cost_mpoints)}</span>}
          note={text.pointsPerHour(format.points(job.price_mpoints_per_hour))}
        />
        {job.held_mpoints > 0 && (
          <Figure label={words.held} value={format.points(job.held_mpoints)} />
        )}
        {elapsed !== null && <Figure label={words.elapsed} value={format.duration(elapsed)} />}
        <Figure label={words.flavor} value={<span className="mono">{job.flavor}</span>} />
        {run.node && <Figure label={words.node} value={<span className="mono">{run.node}</span>} />}
      </div>
    </section>
  );
}
