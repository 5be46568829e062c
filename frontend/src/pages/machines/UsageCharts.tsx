// The curves of a machine's use over its last hour or day.

import { lazy, Suspense } from "react";
import { useChoices } from "../../App";
import type { MachineUsage } from "../../api/shapes";
import { useWords } from "../../i18n";
import { useNow } from "./useNow";
import { lastOf, toPoints, type Points } from "./usageCurves";

export type Span = "hour" | "day";

const GIB = 2 ** 30;
const SPAN_S: Record<Span, number> = { hour: 3600, day: 24 * 3600 };
const LineChart = lazy(async () => ({
  default: (await import("../../widgets/LineChart")).LineChart,
}));

interface Drawn {
  title: string;
  curves: { label: string; points: Points; color: string }[];
  formatValue: (value: number) => string;
  most?: number;
}

function useDrawn(usage: MachineUsage, span: Span): Drawn[] {
  const { text, format } = useWords();
  const words = text.machines.usage;
  const since = useNow(60_000) / 1000 - SPAN_S[span];
  const { minutes } = usage;
  const points = (figures: readonly (number | null)[]) => toPoints(minutes.at, figures, since);
  // The axis is divided into round numbers, which of bytes are not round in GiB.
  const inGib = (figures: readonly (number | null)[]) =>
    points(figures.map((size) => (size === null ? null : size / GIB)));
  const speed = (value: number) => words.perSecond(format.bytes(Math.round(value)));
  const gpu = points(minutes.gpu_busy_ratio);
  const drawn: Drawn[] = [
    {
      title: words.cpu,
      curves: [{ label: words.cpu, points: points(minutes.cores), color: "--ember" }],
      formatValue: (value) => format.number(value, 2),
      most: usage.cores_limit,
    },
    {
      title: words.memory,
      curves: [{ label: words.memory, points: inGib(minutes.memory_bytes), color: "--ember" }],
      formatValue: (value) => format.bytes(value * GIB),
      most: usage.memory_limit_bytes / GIB,
    },
    {
      title: words.gpu,
      curves: [{ label: words.gpu, points: gpu, color: "--ember" }],
      formatValue: format.percent,
      most: 1,
    },
    {
      title: words.network,
      curves: [
        {
          label: words.received,
          points: points(minutes.received_bytes_per_s),
          color: "--ember",
        },
        { label: words.sent, points: points(minutes.sent_bytes_per_s), color: "--ember-2" },
      ],
      formatValue: speed,
    },
  ];
  // Without a GPU that is measured there is nothing to draw of one.
  return drawn.filter(({ title }) => title !== words.gpu || lastOf(gpu) !== null);
}

export function UsageCharts({ usage, span }: { usage: MachineUsage; span: Span }) {
  const { text, format } = useWords();
  const { theme } = useChoices();
  const words = text.machines.usage;
  const drawn = useDrawn(usage, span);
  if (drawn.every(({ curves }) => curves.every(({ points }) => points.steps.length === 0)))
    return <p className="muted">{words.none}</p>;
  const sum = ({ title, curves, formatValue }: Drawn) => {
    const last = curves[0] ? lastOf(curves[0].points) : null;
    return words.chart(title, last === null ? "–" : formatValue(last));
  };
  return (
    <div className="usage-charts">
      {drawn.map((each) => (
        <div key={each.title}>
          <h3>{each.title}</h3>
          <Suspense fallback={<div className="chart" style={{ minHeight: 150 }} />}>
            <LineChart
              isTime
              height={130}
              theme={theme}
              xLabel={words.time}
              formatTime={(seconds) => format.clock(seconds * 1000)}
              formatValue={each.formatValue}
              most={each.most}
              summary={sum(each)}
              curves={each.curves.map(({ label, points, color }) => ({ label, color, ...points }))}
            />
          </Suspense>
        </div>
      ))}
    </div>
  );
}
