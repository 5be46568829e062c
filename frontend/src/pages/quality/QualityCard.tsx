// A quantized model's report card: what it lost and what it won, in figures, bars and a curve over its layers.

import { lazy, Suspense } from "react";
import { useChoices } from "../../App";
import type { QualityReport } from "../../api/shapes";
import { useWords } from "../../i18n";
import { useQuantizeWords } from "../../i18n/quantizeWords";
import { layerCurves, listBars, lossOf, nameScheme } from "../../stores/quality";
import { Figure } from "../../widgets/Figure";
import "./quality.css";

const LineChart = lazy(async () => ({
  default: (await import("../../widgets/LineChart")).LineChart,
}));

export function QualityCard({ report }: { report: QualityReport }) {
  return (
    <div className="stack" data-testid="report-card">
      <Summary report={report} />
      <Perplexities report={report} />
      <SpeedTable report={report} />
      {report.layers.length > 1 && <Layers report={report} />}
    </div>
  );
}

function Summary({ report }: { report: QualityReport }) {
  const { format } = useWords();
  const { card, shippedWithin } = useQuantizeWords();
  const { greedy, calibration: made, scheme } = report;
  const change = lossOf(report);
  const signed = `${change >= 0 ? "+" : "−"}${format.number(Math.abs(100 * change), 2)}\u00a0%`;
  return (
    <section className="panel">
      <div className="quality-figures">
        <Figure
          label={card.perplexity}
          value={format.number(report.quantized.perplexity, 3)}
          note={card.from(format.number(report.base_perplexity, 3), signed)}
          isBig
        />
        <Figure
          label={card.agreement}
          value={`${format.number(100 * report.quantized.agreement, 1)} %`}
          note={card.agreementText}
          isBig
        />
        {greedy && (
          <Figure
            label={card.greedy}
            value={format.number(greedy.mean_tokens, 1)}
            note={card.greedyOf(format.number(greedy.of_tokens), format.number(greedy.num_prompts))}
            isBig
          />
        )}
        <Figure
          label={card.size}
          value={format.bytes(report.size_bytes)}
          note={card.sizeFrom(
            format.bytes(report.base_size_bytes),
            format.percent(report.size_bytes / Math.max(1, report.base_size_bytes)),
          )}
          isBig
        />
      </div>
      <p className="muted small quality-made">
        {[
          nameScheme(report),
          scheme.group_size ? card.group(format.number(scheme.group_size)) : "",
          card.bytes(format.number(report.bytes_per_weight, 3)),
          card.made(
            format.number(made.num_windows),
            format.number(made.length_tokens),
            made.dataset || shippedWithin,
          ),
          card.heldOut(format.number(made.num_held_out_tokens)),
        ]
          .filter(Boolean)
          .join(" · ")}
      </p>
    </section>
  );
}

function Perplexities({ report }: { report: QualityReport }) {
  const { format } = useWords();
  const { card } = useQuantizeWords();
  const names: Record<string, string> = { base: card.base, quantized: card.quantized };
  return (
    <section className="panel">
      <h2 className="section-title">{card.perplexities}</h2>
      <table className="bars">
        <tbody>
          {listBars(report).map(({ name, perplexity, share, isRecommended }) => (
            <tr key={name}>
              <th scope="row">
                {names[name] ?? card.kv(name)}
                {isRecommended && <span aria-hidden="true"> ✓</span>}
              </th>
              <td className="bar" aria-hidden="true">
                <span style={{ width: `${100 * share}%` }} />
              </td>
              <td className="num">{format.number(perplexity, 3)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p className="muted small quality-made">{card.recommended(report.recommended_kv)}</p>
    </section>
  );
}

/** A processor's name comes as the engine writes it; a GPU's is its own in any language. */
function sayDevice(device: string, say: (threads: number) => string): string {
  const threads = /^CPU, (\d+) threads?$/.exec(device)?.[1];
  return threads === undefined ? device : say(Number(threads));
}

function SpeedTable({ report }: { report: QualityReport }) {
  const { format } = useWords();
  const { card } = useQuantizeWords();
  const { speed } = report;
  if (!speed) return <p className="muted small">{card.noSpeed}</p>;
  const rows = [
    [card.prefill, speed.prefill_tokens_per_s, speed.base_prefill_tokens_per_s],
    [card.decode, speed.decode_tokens_per_s, speed.base_decode_tokens_per_s],
  ] as const;
  return (
    <section className="panel">
      <h2 className="section-title">{card.speed}</h2>
      <p className="muted small">
        {sayDevice(speed.device, card.cpu)} · {speed.engine}
      </p>
      <table className="bars">
        <tbody>
          {rows.map(([name, now, before]) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td className="num">{format.number(Math.round(now))}</td>
              <td className="num muted">
                {card.base}: {format.number(Math.round(before))}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Layers({ report }: { report: QualityReport }) {
  const { format } = useWords();
  const { card } = useQuantizeWords();
  const { theme } = useChoices();
  const { linear, stream, worst } = layerCurves(report);
  return (
    <section className="panel">
      <h2 className="section-title">{card.layers}</h2>
      <Suspense fallback={<div className="chart" style={{ minHeight: 200 }} />}>
        <LineChart
          height={200}
          theme={theme}
          isLog
          xLabel={card.layer}
          formatValue={format.measure}
          curves={[
            { label: card.linear, ...linear, color: "--ember" },
            { label: card.stream, ...stream, color: "--ember-2", dash: [8, 4] },
          ]}
          summary={
            worst
              ? card.layersSummary(format.measure(worst.error), format.number(worst.layer))
              : card.layers
          }
        />
      </Suspense>
    </section>
  );
}
