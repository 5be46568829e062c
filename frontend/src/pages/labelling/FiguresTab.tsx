// How far the annotators are, and how far they agree.

import { useQuery } from "@tanstack/react-query";
import { queries } from "../../api/queries";
import type { LabelFigures, LabellingDetail } from "../../api/shapes";
import { useWords } from "../../i18n";
import { DataTable } from "../../widgets/DataTable";
import { EmptyState } from "../../widgets/EmptyState";
import { Figure } from "../../widgets/Figure";
import { Loaded } from "../../widgets/Loaded";
import { MembersPanel } from "./MembersPanel";

export function FiguresTab({ project }: { project: LabellingDetail }) {
  const figures = useQuery({
    ...queries.labelFigures(project.id),
    refetchInterval: 30_000,
  });
  return (
    <Loaded query={figures}>
      {(data) => (
        <div className="stack">
          <section className="panel">
            {data.num_shared_rows > 0 ? <Agreement figures={data} kind={project.kind} /> : <None />}
          </section>
          <MembersPanel project={project} people={data.people} />
        </div>
      )}
    </Loaded>
  );
}

function None() {
  const { text } = useWords();
  const words = text.labelling.figures;
  return <EmptyState title={words.none} text={words.noneText} />;
}

function Agreement({ figures, kind }: { figures: LabelFigures; kind: LabellingDetail["kind"] }) {
  const { text, format } = useWords();
  const words = text.labelling.figures;
  const share = (value: number | null) => (value === null ? "–" : format.percent(value));
  const measure = (value: number | null) => (value === null ? "–" : format.number(value, 3));
  const verdicts = Object.entries(figures.verdicts).map(
    ([verdict, count]) => [text.labelling.verdict[verdict] ?? verdict, count] as const,
  );
  const most = Math.max(1, ...verdicts.map(([, count]) => count));
  return (
    <>
      <div className="figures" data-testid="agreement">
        <Figure
          isBig
          label={words.percent}
          value={share(figures.percent_agreement)}
          note={words.percentNote}
        />
        {kind === "spans" ? (
          <>
            <Figure isBig label={words.exact} value={measure(figures.span_f1)} />
            <Figure isBig label={words.overlap} value={measure(figures.overlap_f1)} />
          </>
        ) : (
          <>
            <Figure
              isBig
              label={words.alpha}
              value={measure(figures.alpha)}
              note={words.alphaNote}
            />
            {figures.kappa !== null && (
              <Figure isBig label={words.kappa} value={measure(figures.kappa)} />
            )}
          </>
        )}
        <Figure label={words.shared} value={format.number(figures.num_shared_rows)} />
      </div>
      {verdicts.length > 0 && (
        <>
          <h2 className="section-title" style={{ marginTop: 20 }}>
            {words.verdicts}
          </h2>
          <Bars
            bars={verdicts.map(([name, count]) => [name, count / most, format.number(count)])}
          />
        </>
      )}
      <h2 className="section-title" style={{ marginTop: 20 }}>
        {words.pairs}
      </h2>
      <DataTable
        size="small"
        pagination={figures.pairs.length > 20 ? { pageSize: 20 } : false}
        rowKey={(pair) => `${pair.left} ${pair.right}`}
        dataSource={figures.pairs}
        columns={[
          { title: text.labelling.people.title, render: (_, p) => `${p.left} – ${p.right}` },
          {
            title: kind === "spans" ? words.overlap : words.percent,
            render: (_, p) => <Bars bars={[["", p.agreement ?? 0, share(p.agreement)]]} isBare />,
            width: 260,
          },
          ...(kind === "spans"
            ? []
            : [
                {
                  title: words.kappa,
                  render: (_: unknown, p: LabelFigures["pairs"][number]) => measure(p.kappa),
                },
              ]),
          { title: words.shared, render: (_, p) => words.pairRows(format.number(p.num_rows)) },
        ]}
      />
    </>
  );
}

type Bar = readonly [name: string, ratio: number, value: string];

/** Bars with their names and values: the length only helps. */
function Bars({ bars, isBare = false }: { bars: readonly Bar[]; isBare?: boolean }) {
  return (
    <div
      className="label-bars num"
      style={isBare ? { gridTemplateColumns: "minmax(60px, 1fr) max-content" } : undefined}
    >
      {bars.map(([name, ratio, value]) => (
        <div key={name} style={{ display: "contents" }}>
          {!isBare && <span>{name}</span>}
          <span className="track" aria-hidden="true">
            <span
              className="fill"
              style={{ display: "block", width: `${Math.max(0, Math.min(1, ratio)) * 100}%` }}
            />
          </span>
          <span>{value}</span>
        </div>
      ))}
    </div>
  );
}
