// One row of a dataset: its turns, or its text as written, and what is wrong with it.

import { Alert } from "antd";
import type { DatasetRow } from "../api/shapes";
import { useWords } from "../i18n";
import { sayRow } from "../i18n/said";

interface Turn {
  role: string;
  content: string;
}

function turnsOf(row: Record<string, unknown> | null): Turn[] | null {
  if (!row || !Array.isArray(row.messages)) return null;
  const turns = row.messages as unknown[];
  const isTurn = (turn: unknown): turn is Turn => {
    const { role, content } = (turn ?? {}) as Partial<Turn>;
    return typeof role === "string" && typeof content === "string";
  };
  return turns.every(isTurn) ? turns : null;
}

export function DataRow({ row }: { row: DatasetRow }) {
  const { text } = useWords();
  const words = text.hub.viewer;
  const turns = turnsOf(row.row);
  return (
    <article className="data-row">
      <div className="muted small num" style={{ marginBottom: 6 }}>
        {words.line(row.line)}
      </div>
      {turns ? (
        turns.map((turn, index) => (
          <div key={index} className={`turn ${turn.role}`}>
            <div className="who">{words.role[turn.role] ?? turn.role}</div>
            <div className="said">{turn.content}</div>
          </div>
        ))
      ) : (
        <div className="code-block" tabIndex={0} role="region" aria-label={words.raw}>
          {row.raw ?? JSON.stringify(row.row)}
        </div>
      )}
      {row.problems.map((problem) => {
        const { problem: wrong, mend } = sayRow(text, problem);
        return (
          <Alert
            key={`${problem.code} ${problem.field}`}
            type="error"
            showIcon
            style={{ marginTop: 8 }}
            title={
              <>
                {problem.field && <span className="mono">{problem.field}</span>} {wrong} {mend}
              </>
            }
          />
        );
      })}
    </article>
  );
}
