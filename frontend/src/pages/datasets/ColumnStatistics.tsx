// What each column holds: how many are empty, from where to where, and a histogram.

import { useQuery } from "@tanstack/react-query";
import { queries } from "../../api/queries";
import type { TableColumn } from "../../api/shapes";
import { useWords } from "../../i18n";
import { Loaded } from "../../widgets/Loaded";

export function ColumnStatistics({
  id,
  revision,
  path,
}: {
  id: string;
  revision: string;
  path: string;
}) {
  const { text, format } = useWords();
  const words = text.finding.table;
  const statistics = useQuery(queries.statistics(id, { revision, path }));
  return (
    <section className="panel">
      <h2 className="section-title">{words.columns}</h2>
      <Loaded query={statistics}>
        {(data) => (
          <>
            <p className="muted small" style={{ marginTop: 0 }}>
              {(data.is_whole ? words.whole : words.sample)(format.number(data.num_seen))}
            </p>
            <div className="columns">
              {data.columns.map((column) => (
                <Column key={column.name} column={column} />
              ))}
            </div>
          </>
        )}
      </Loaded>
    </section>
  );
}

function Column({ column }: { column: TableColumn }) {
  const { text, format } = useWords();
  const words = text.finding.table;
  const isLength = column.kind === "text" || column.kind === "list";
  const say = isLength ? words.lengths : words.range;
  const least = column.whole?.min ?? column.min;
  const most = column.whole?.max ?? column.max;
  return (
    <div>
      <b className="mono">{column.name}</b> <span className="muted small">{column.kind}</span>
      {column.top ? (
        <ul className="column-top small">
          {column.top.map(({ value, count }) => (
            <li key={value}>
              <span>{value}</span> <span className="muted num">{format.number(count)}</span>
            </li>
          ))}
        </ul>
      ) : (
        column.bins && <Histogram bins={column.bins} label={words.histogram(column.name)} />
      )}
      <div className="muted small num">
        {least !== undefined &&
          most !== undefined &&
          !column.top &&
          `${say(format.compact(least), format.compact(most))} · `}
        {words.nulls(format.number(column.whole?.num_null ?? column.num_null))}
      </div>
    </div>
  );
}

function Histogram({ bins, label }: { bins: readonly number[]; label: string }) {
  const most = Math.max(...bins, 1);
  return (
    <svg
      className="histogram"
      viewBox="0 0 120 36"
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      {bins.map((count, index) => {
        const width = 120 / bins.length;
        const height = count > 0 ? Math.max((count / most) * 36, 1) : 0;
        return (
          <rect
            key={index}
            x={index * width + 0.5}
            y={36 - height}
            width={Math.max(width - 1, 0.5)}
            height={height}
          />
        );
      })}
    </svg>
  );
}
