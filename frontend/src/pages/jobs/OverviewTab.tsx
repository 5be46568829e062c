// The curves of a run and its key facts.

import { useQuery } from "@tanstack/react-query";
import { Checkbox, Select, Slider } from "antd";
import { lazy, Suspense, useMemo, useState } from "react";
import { useChoices } from "../../App";
import { queries } from "../../api/queries";
import type { Job, Metrics, Run } from "../../api/shapes";
import { useWords } from "../../i18n";
import { smooth, type RunStream, type Series } from "../../stores/runStream";
import { useStore } from "../../stores/useStore";
import type { Curve } from "../../widgets/LineChart";
import { useUrlState } from "../useUrlState";
import { KeyFacts } from "./KeyFacts";
import { Measures } from "./Measures";

const LineChart = lazy(async () => ({
  default: (await import("../../widgets/LineChart")).LineChart,
}));

const NOTHING: Series = { steps: [], values: [] };

function seriesOf(metrics: Metrics | undefined, name: string): Series {
  const points = metrics?.series[name] ?? [];
  return {
    steps: points.map(([step]) => step ?? 0),
    values: points.map(([, value]) => value ?? NaN),
  };
}

export function OverviewTab({ job, run, stream }: { job: Job; run: Run; stream: RunStream }) {
  const { text, format } = useWords();
  const words = text.jobs.chart;
  const { theme } = useChoices();
  const { series } = useStore(stream);
  const [read, write] = useUrlState();
  const [smoothing, setSmoothing] = useState(0);
  const [isLog, setIsLog] = useState(false);
  const other = useCompared(job, read("compare"));

  const loss = series.get("loss") ?? NOTHING;
  const rate = series.get("learning_rate") ?? NOTHING;
  const curves = useLossCurves(loss, series.get("eval_loss") ?? NOTHING, other, smoothing);
  const summarize = (name: string, { steps, values }: Series) =>
    words.summary(
      name,
      format.measure(values[0] ?? 0),
      format.measure(values.at(-1) ?? 0),
      steps.at(-1) ?? 0,
    );
  const shared = { xLabel: words.step, theme, formatValue: format.measure };
  return (
    <div className="two">
      <div className="stack">
        <section className="panel">
          <div className="row between" style={{ marginBottom: 10 }}>
            <h2 className="section-title" style={{ margin: 0 }}>
              {words.loss}
            </h2>
            <div className="row small">
              <label className="row">
                {words.smoothing}
                <Slider
                  style={{ width: 90, margin: "4px 6px" }}
                  min={0}
                  max={0.95}
                  step={0.05}
                  value={smoothing}
                  onChange={setSmoothing}
                  ariaLabelForHandle={words.smoothing}
                />
              </label>
              <Checkbox checked={isLog} onChange={(event) => setIsLog(event.target.checked)}>
                {words.log}
              </Checkbox>
              <ComparePicker
                job={job}
                value={read("compare")}
                onChange={(id) => write({ compare: id })}
              />
            </div>
          </div>
          {loss.steps.length === 0 ? (
            <p className="muted">{run.ended_at ? words.none : words.waiting}</p>
          ) : (
            <Suspense fallback={<div className="chart" />}>
              <LineChart
                {...shared}
                curves={curves}
                isLog={isLog}
                summary={summarize(words.loss, loss)}
              />
            </Suspense>
          )}
        </section>
        {rate.steps.length > 0 && (
          <section className="panel">
            <h2 className="section-title">{words.learningRate}</h2>
            <Suspense fallback={<div className="chart" style={{ minHeight: 170 }} />}>
              <LineChart
                {...shared}
                height={170}
                summary={summarize(words.learningRate, rate)}
                curves={[{ label: words.learningRate, ...rate, color: "--ember-2" }]}
              />
            </Suspense>
          </section>
        )}
        <Measures job={job} stream={stream} />
      </div>
      <section className="panel">
        <h2 className="section-title">{text.jobs.facts.title}</h2>
        <KeyFacts job={job} run={run} stream={stream} />
      </section>
    </div>
  );
}

interface Compared {
  name: string;
  series: Series;
}

function useCompared(job: Job, id: string): Compared | null {
  const isOther = id !== "" && id !== job.id;
  const { data: otherJob } = useQuery({ ...queries.job(id), enabled: isOther });
  const runId = otherJob?.run.id ?? "";
  const { data: metrics } = useQuery({
    ...queries.metrics(runId),
    enabled: isOther && runId !== "",
  });
  return useMemo(
    () => (isOther && otherJob ? { name: otherJob.name, series: seriesOf(metrics, "loss") } : null),
    [isOther, otherJob, metrics],
  );
}

function useLossCurves(
  loss: Series,
  held: Series,
  other: Compared | null,
  weight: number,
): Curve[] {
  const { text } = useWords();
  const { train, eval: evaluation } = text.jobs.chart;
  const curves: Curve[] = [
    { label: train, steps: loss.steps, values: smooth(loss.values, weight), color: "--ember" },
  ];
  if (weight > 0)
    curves.push({ label: `${train} *`, ...loss, color: "--ember", width: 1, isFaint: true });
  if (held.steps.length)
    curves.push({ label: evaluation, ...held, color: "--ember-2", dash: [8, 4] });
  if (other?.series.steps.length) {
    const values = smooth(other.series.values, weight);
    curves.push({
      label: other.name,
      steps: other.series.steps,
      values,
      color: "--muted",
      dash: [2, 4],
    });
  }
  return curves;
}

function ComparePicker({
  job,
  value,
  onChange,
}: {
  job: Job;
  value: string;
  onChange: (id: string) => void;
}) {
  const { text } = useWords();
  const { data } = useQuery(queries.jobs({ kind: job.kind, page_size: 50 }));
  const others = (data?.results ?? []).filter((other) => other.id !== job.id);
  if (others.length === 0) return null;
  return (
    <Select
      allowClear
      showSearch={{ optionFilterProp: "label" }}
      size="small"
      style={{ width: 170 }}
      aria-label={text.jobs.chart.compare}
      placeholder={`${text.jobs.chart.compare}…`}
      value={value || undefined}
      onChange={(id?: string) => onChange(id ?? "")}
      options={others.map((other) => ({ value: other.id, label: other.name }))}
      popupMatchSelectWidth={false}
    />
  );
}
