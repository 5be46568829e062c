// The curves beside the loss: what the stage is judged by, then speed and use; each in a small chart of its own.

import { lazy, Suspense } from "react";
import { useChoices } from "../../App";
import type { Job } from "../../api/shapes";
import { useWords } from "../../i18n";
import { kindOf, listMeasures, type Measure } from "../../stores/measures";
import type { RunStream } from "../../stores/runStream";
import { useStore } from "../../stores/useStore";
import type { Curve } from "../../widgets/LineChart";
import { useMetricWords } from "./metricWords";
import "./measures.css";

const LineChart = lazy(async () => ({
  default: (await import("../../widgets/LineChart")).LineChart,
}));
const HEIGHT = 150;

export function Measures({ job, stream }: { job: Job; stream: RunStream }) {
  const { series } = useStore(stream);
  const stage = String(job.spec.stage ?? "sft");
  const measures = listMeasures(series, stage);
  if (measures.length === 0) return null;
  return (
    <div className="measures">
      {measures.map((measure) => (
        <MeasureChart key={measure.name} measure={measure} stage={stage} />
      ))}
    </div>
  );
}

function MeasureChart({ measure, stage }: { measure: Measure; stage: string }) {
  const { text, format } = useWords();
  const words = useMetricWords();
  const { theme } = useChoices();
  const { name, train, held } = measure;
  const show = useShow(name);
  const how = words.how[stage]?.[name];
  const title = words.name[name] ?? name;
  const last = (held ?? train)?.values.at(-1);
  const curves: Curve[] = [];
  if (train) curves.push({ label: title, ...train, color: "--ember" });
  if (held) {
    const label = words.name[`eval_${name}`] ?? `eval_${name}`;
    curves.push({ label, ...held, color: "--ember-2", dash: [8, 4] });
  }
  const first = (held ?? train)?.values[0];
  const steps = (held ?? train)?.steps.at(-1) ?? 0;
  return (
    <section className="panel">
      <div className="row between">
        <h2 className="section-title" style={{ margin: 0 }}>
          {title}
        </h2>
        <span className="num">{last === undefined ? "" : show(last)}</span>
      </div>
      {how && <p className="muted small">{how}</p>}
      <Suspense fallback={<div className="chart" style={{ minHeight: HEIGHT }} />}>
        <LineChart
          height={HEIGHT}
          xLabel={text.jobs.chart.step}
          theme={theme}
          formatValue={kindOf(name) === "speed" ? format.compact : show}
          summary={text.jobs.chart.summary(title, show(first ?? 0), show(last ?? 0), steps)}
          curves={curves}
        />
      </Suspense>
    </section>
  );
}

function useShow(name: string): (value: number) => string {
  const { text, format } = useWords();
  switch (kindOf(name)) {
    case "ratio":
      return format.percent;
    case "bytes":
      return format.bytes;
    case "speed":
      return (value) => text.jobs.facts.tokensPerS(format.number(Math.round(value)));
    default:
      return format.measure;
  }
}
