// What a run is made of and what it measured last.

import type { Job, Run } from "../../api/shapes";
import { useWords } from "../../i18n";
import { useQuantizeWords } from "../../i18n/quantizeWords";
import type { RunStream } from "../../stores/runStream";
import { CopyButton } from "../../widgets/CopyButton";
import { Facts } from "../../widgets/Facts";
import { RelativeTime } from "../../widgets/RelativeTime";
import { numProcesses } from "../../stores/trainForm";
import { useMetricWords } from "./metricWords";
import { RepoLink } from "./RepoLink";

interface TrainFacts {
  stage: string;
  method: string;
  mixture: { repo: string; weight?: number }[];
}

export function KeyFacts({ job, run, stream }: { job: Job; run: Run; stream: RunStream }) {
  const { text, format } = useWords();
  const words = text.jobs.facts;
  const more = useMetricWords();
  const { stage = "sft", method = "lora", mixture } = job.spec as Partial<TrainFacts>;
  const quantize = useQuantizeWords();
  const isQuantize = job.kind === "quantize";
  const last = (name: string): number | undefined =>
    stream.series.get(name)?.values.at(-1) ?? run.latest_metrics[name] ?? undefined;
  const shown = (name: string, show: (value: number) => string) => {
    const value = last(name);
    return value === undefined ? null : show(value);
  };
  const when = (iso: string | null) => iso && <RelativeTime iso={iso} />;
  return (
    <Facts
      facts={[
        [more.facts.stage, isQuantize ? null : (more.stage[stage] ?? stage)],
        [
          more.facts.method,
          isQuantize ? quantize.method[method]?.title : (more.method[method] ?? method),
        ],
        [
          words.model,
          job.spec.model ? <RepoLink key="m" kind="models" id={job.spec.model} /> : null,
        ],
        [
          words.dataset,
          job.spec.dataset ? <RepoLink key="d" kind="datasets" id={job.spec.dataset} /> : null,
        ],
        [more.facts.mixture, mixture?.length ? <Mixture key="x" sources={mixture} /> : null],
        [more.facts.processes, numProcesses(job.spec) > 1 ? String(numProcesses(job.spec)) : null],
        [words.output, job.output_repo && <RepoLink key="o" kind="models" id={job.output_repo} />],
        [words.lastLoss, shown("loss", format.measure)],
        [words.evalLoss, shown("eval_loss", format.measure)],
        [words.epoch, shown("epoch", (value) => format.number(value, 2))],
        [words.speed, shown("tokens_per_s", (value) => words.tokensPerS(format.number(value)))],
        [words.memory, shown("memory_bytes", format.bytes)],
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

function Mixture({ sources }: { sources: TrainFacts["mixture"] }) {
  const { format } = useWords();
  const { times } = useMetricWords();
  return (
    <div>
      {sources.map(({ repo, weight = 1 }, index) => (
        <div key={index}>
          <RepoLink kind="datasets" id={repo} />{" "}
          <span className="muted num">{times(format.number(weight, 2))}</span>
        </div>
      ))}
    </div>
  );
}
