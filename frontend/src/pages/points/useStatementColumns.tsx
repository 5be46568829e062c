// The columns of a statement: each change with its reason, and what was left after it.

import type { TableColumnsType } from "antd";
import { Link } from "react-router";
import type { StatementLine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { sayTold } from "../../i18n/told";

export function useStatementColumns(isNarrow: boolean): TableColumnsType<StatementLine> {
  const { text, format, language } = useWords();
  const words = text.pointsPage;
  const { col } = words;
  const change = (value: number) =>
    value === 0 ? <span className="muted">0</span> : format.change(value);
  const what = (line: StatementLine) =>
    line.job_id ? (
      <>
        <Link to={`/jobs/${line.job_id}`}>{line.job_name || line.job_id.slice(0, 8)}</Link>
        {line.run_index !== null && (
          <span className="muted small"> {words.run(line.run_index)}</span>
        )}
      </>
    ) : (
      sayTold(language, line.note, line.told)
    );
  const reason = (line: StatementLine) =>
    (line.num_moves > 1 ? words.together : words.reason)[line.reason] ?? line.reason;
  const times = (line: StatementLine) => (
    <>
      <time className="num" dateTime={line.begun_at}>
        {format.time(line.begun_at)}
      </time>
      {line.num_moves > 1 && (
        <div className="num muted small">
          <time dateTime={line.time}>{words.until(format.time(line.time))}</time>
        </div>
      )}
    </>
  );
  if (isNarrow) {
    return [
      {
        title: col.what,
        key: "what",
        render: (_, line) => (
          <>
            <div className="break">{what(line)}</div>
            <div className="muted small">{reason(line)}</div>
            <div className="muted small">{times(line)}</div>
          </>
        ),
      },
      {
        title: col.available,
        key: "available",
        align: "right",
        className: "num",
        render: (_, line) => (
          <>
            {change(line.available_change_mpoints)}
            <div className="muted small">{format.exact(line.available_after_mpoints)}</div>
            {line.held_change_mpoints !== 0 && (
              <div className="muted small">
                {col.held} {format.change(line.held_change_mpoints)}
              </div>
            )}
          </>
        ),
      },
    ];
  }
  return [
    { title: col.time, key: "time", render: (_, line) => times(line) },
    { title: col.reason, key: "reason", render: (_, line) => reason(line) },
    {
      title: col.what,
      key: "what",
      render: (_, line) => <div className="words">{what(line)}</div>,
    },
    {
      title: col.available,
      key: "available",
      align: "right",
      className: "num",
      render: (_, line) => change(line.available_change_mpoints),
    },
    {
      title: col.held,
      key: "held",
      align: "right",
      className: "num",
      render: (_, line) => change(line.held_change_mpoints),
    },
    {
      title: col.after,
      key: "after",
      align: "right",
      className: "num",
      render: (_, line) => format.exact(line.available_after_mpoints),
    },
    {
      title: col.heldAfter,
      key: "heldAfter",
      align: "right",
      className: "num",
      render: (_, line) => format.exact(line.held_after_mpoints),
    },
    { title: col.by, dataIndex: "by" },
  ];
}
