// What a script has told of itself: a curve for each number, and its key facts.

import { lazy, Suspense } from "react";
import { useChoices } from "../../App";
import type { Job, Run } from "../../api/shapes";
import { useWords } from "../../i18n";
import type { RunStream, Series } from "../../stores/runStream";
import { joinWords } from "../../stores/shellWords";
import { useStore } from "../../stores/useStore";
import { CopyButton } from "../../widgets/CopyButton";
import { Facts } from "../../widgets/Facts";
import { RelativeTime } from "../../widgets/RelativeTime";
import { WithCode } from "../../widgets/WithCode";
import { RepoLink, SourceLink } from "./RepoLink";

const LineChart = lazy(async () => ({
  default: (await import("../../widgets/LineChart")).LineChart,
}));

interface Props {
  job: Job;
  run: Run;
  stream: RunStream;
}

export function ScriptOverview({ job, run, stream }: Props) {
  const { text } = useWords();
  const { series } = useStore(stream);
  return (
    <div className="two">
      <div className="stack">
        {[...series].map(([name, points]) => (
          <Curve key={name} name={name} points={points} />
        ))}
        {series.size === 0 && (
          <section className="panel">
            <p className="muted">
              <WithCode text={text.jobs.chart.metricsHow} />
            </p>
          </section>
        )}
      </div>
      <section className="panel">
        <h2 className="section-title">{text.jobs.facts.title}</h2>
        <ScriptFacts job={job} run={run} />
      </section>
    </div>
  );
}

function Curve({ name, points }: { name: string; points: Series }) {
  const { text, format } = useWords();
  const words = text.jobs.chart;
  const { theme } = useChoices();
  const { steps, values } = points;
  return (
    <section className="panel">
      <h2 className="section-title mono">{name}</h2>
      <Suspense fallback={<div className="chart" style={{ minHeight: 200 }} />}>
        <LineChart
          height={200}
          theme={theme}
          xLabel={words.step}
          formatValue={format.measure}
          curves={[{ label: name, ...points, color: "--ember" }]}
          summary={words.summary(
            name,
            format.measure(values[0] ?? 0),
            format.measure(values.at(-1) ?? 0),
            steps.at(-1) ?? 0,
          )}
        />
      </Suspense>
    </section>
  );
}

function ScriptFacts({ job, run }: { job: Job; run: Run }) {
  const { text, format } = useWords();
  const words = text.jobs.facts;
  const { command, code, inputs, time_limit_minutes: minutes } = job.spec;
  const when = (iso: string | null) => iso && <RelativeTime iso={iso} />;
  const sources = Object.entries((inputs ?? {}) as Record<string, string>);
  return (
    <Facts
      facts={[
        [
          words.command,
          <code key="c" className="break">
            {Array.isArray(command) ? joinWords(command.map(String)) : ""}
          </code>,
        ],
        [words.code, typeof code === "string" ? <SourceLink key="s" source={code} /> : null],
        [
          words.inputs,
          sources.length > 0
            ? sources.map(([place, source]) => (
                <div key={place}>
                  <span className="mono">{place}</span> <SourceLink source={source} />
                </div>
              ))
            : null,
        ],
        [
          words.scriptOutput,
          job.output_repo && <RepoLink key="o" kind="models" id={job.output_repo} />,
        ],
        [words.image, typeof job.resolved.image === "string" ? job.resolved.image : null],
        [words.timeLimit, typeof minutes === "number" ? format.duration(minutes * 60) : null],
        [words.launched, when(run.created_at)],
        [words.started, when(run.started_at)],
        [words.ended, when(run.ended_at)],
        [words.exitCode, run.exit_code === null ? null : String(run.exit_code)],
        [
          words.id,
          <span key="id" className="row" style={{ gap: 2, flexWrap: "nowrap" }}>
            <span className="mono ellipsis">{job.id}</span>
            <CopyButton text={job.id} size="small" />
          </span>,
        ],
      ]}
    />
  );
}
