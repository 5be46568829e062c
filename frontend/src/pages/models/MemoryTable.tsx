// What a model's weights take in memory by number format: a bar each, drawn to the largest.

import { useWords } from "../../i18n";

export function MemoryTable({ bytes }: { bytes: Record<string, number> }) {
  const { text, format } = useWords();
  const words = text.repo.facts;
  const most = Math.max(...Object.values(bytes), 1);
  return (
    <section className="panel">
      <h2 className="section-title">{words.memory}</h2>
      <table className="bars">
        <tbody>
          {Object.entries(bytes).map(([name, value]) => (
            <tr key={name}>
              <th scope="row" className="mono">
                {name}
              </th>
              <td className="bar" aria-hidden="true">
                <span style={{ width: `${(100 * value) / most}%` }} />
              </td>
              <td className="num">{format.bytes(value)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p className="muted small" style={{ margin: "10px 0 0" }}>
        {words.memoryText}
      </p>
    </section>
  );
}
