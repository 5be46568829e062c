// Curves over steps. Wraps uPlot, which draws on a canvas: made once per shape of data, fed afterwards.

import { useEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

export interface Curve {
  label: string;
  steps: readonly number[];
  values: readonly number[];
  /** A CSS custom property, so that the curve follows the theme. */
  color: string;
  width?: number;
  dash?: number[];
  isFaint?: boolean;
}

interface Props {
  curves: readonly Curve[];
  xLabel: string;
  isLog?: boolean;
  /** The steps are Unix seconds, and what is missing between two stays a gap. */
  isTime?: boolean;
  formatTime?: (seconds: number) => string;
  /** Where the upright axis ends; else where the highest value does. */
  most?: number;
  height?: number;
  theme: string;
  summary: string;
  formatValue: (value: number) => string;
}

const cssVar = (name: string) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** Of labels in letters, of which a Chinese one is as wide as two. */
function longest(labels: string[] | null): number {
  const widths = (labels ?? []).map((label) => label.replace(/[\u0100-\uffff]/g, "__").length);
  return Math.max(0, ...widths);
}

function toData(curves: readonly Curve[]): uPlot.AlignedData {
  if (curves.length === 0) return [[]];
  // A gap is null to uPlot; a loss that is no number is a gap.
  const gaps = (values: readonly number[]) =>
    values.map((value) => (Number.isFinite(value) ? value : null));
  return uPlot.join(
    curves.map(({ steps, values }) => [[...steps], gaps(values)] as uPlot.AlignedData),
  );
}

/** Steps, layers and the like are whole; uPlot would also mark the halves between. */
const WHOLE = [1, 2, 5].flatMap((digit) =>
  Array.from({ length: 9 }, (_, power) => digit * 10 ** power),
);

/** Let the legend say the latest values while nobody points at others. */
function tellLatest(plot: uPlot): void {
  if (plot.cursor.idx != null) return;
  const idxs = plot.data.map((row) => {
    const values = row as readonly (number | null | undefined)[];
    return values.findLastIndex((value) => value != null);
  });
  if ((idxs[0] ?? -1) >= 0) plot.setLegend({ idx: idxs[0] as number, idxs: idxs.map(orNull) });
}

const orNull = (index: number): number | null => (index < 0 ? null : index);

function makeOptions(props: Props, width: number): uPlot.Options {
  const ink = cssVar("--muted");
  const line = cssVar("--line");
  const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const showTime = (seconds: number | null) =>
    seconds === null ? "-" : (props.formatTime?.(seconds) ?? String(seconds));
  const show = (value: number | null) => (value === null ? "-" : props.formatValue(value));
  return {
    width,
    height: props.height ?? 260,
    legend: { live: true },
    cursor: { points: { size: 7 } },
    hooks: { setCursor: [tellLatest], setData: [tellLatest], ready: [tellLatest] },
    scales: {
      x: { time: props.isTime ?? false },
      y: {
        distr: props.isLog ? 3 : 1,
        ...(props.most !== undefined && { range: [0, props.most] as [number, number] }),
      },
    },
    axes: [
      {
        ...axis,
        label: undefined,
        space: 60,
        ...(!props.isTime && { incrs: [...WHOLE].sort((a, b) => a - b) }),
        ...(props.isTime && { values: (_: uPlot, ticks: number[]) => ticks.map(showTime) }),
      },
      {
        ...axis,
        // Its numbers in full: of a speed in Chinese they are longer than of a loss.
        size: (_, values) => Math.max(62, 20 + 7 * longest(values)),
        values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : props.formatValue(tick))),
      },
    ],
    series: [
      {
        label: props.xLabel,
        ...(props.isTime && { value: (_: uPlot, seconds: number | null) => showTime(seconds) }),
      },
      ...props.curves.map((curve) => ({
        label: curve.label,
        stroke: cssVar(curve.color) + (curve.isFaint ? "55" : ""),
        width: curve.width ?? 2,
        dash: curve.dash,
        spanGaps: !props.isTime,
        points: { show: curve.steps.length < 3 },
        value: (_: uPlot, value: number | null) => show(value),
      })),
    ],
  };
}

export function LineChart(props: Props) {
  const { curves, isLog, theme, summary, xLabel, most } = props;
  const frame = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(props);
  useEffect(() => {
    latest.current = props;
    plot.current?.setData(toData(props.curves));
  });

  // What the axes and the legend are made of; new points alone do not make a new chart.
  const shape = JSON.stringify([
    curves.map((curve) => [curve.label, curve.isFaint]),
    isLog,
    theme,
    xLabel,
    most,
  ]);
  useEffect(() => {
    const box = frame.current;
    if (!box) return;
    const chart = new uPlot(
      makeOptions(latest.current, box.clientWidth),
      toData(latest.current.curves),
      box,
    );
    plot.current = chart;
    const observer = new ResizeObserver(() =>
      chart.setSize({ width: box.clientWidth, height: latest.current.height ?? 260 }),
    );
    observer.observe(box);
    return () => {
      observer.disconnect();
      chart.destroy();
      plot.current = null;
    };
  }, [shape]);

  return <div ref={frame} className="chart" role="img" aria-label={summary} />;
}
