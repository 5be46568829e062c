// Tokens of each day as bars: read below, written on top.

import { useWords } from "../../i18n";
import type { Day } from "./days";
import "./serving.css";
import { useServingWords } from "./words";

export function DayBars({ days }: { days: readonly Day[] }) {
  const { format } = useWords();
  const words = useServingWords().uses;
  const most = Math.max(1, ...days.map(({ read, written }) => read + written));
  const total = days.reduce((sum, { read, written }) => sum + read + written, 0);
  const share = (tokens: number) => `${(100 * tokens) / most}%`;
  return (
    <figure className="day-bars">
      <div
        className="bars"
        role="img"
        aria-label={words.summary(format.number(total), format.number(days.length))}
      >
        {days.map(({ day, read, written }) => (
          <div
            key={day}
            className="bar"
            title={`${day}\n${words.read}: ${format.number(read)}\n${words.written}: ${format.number(written)}`}
          >
            <div className="written" style={{ height: share(written) }} />
            <div className="read" style={{ height: share(read) }} />
          </div>
        ))}
      </div>
      <figcaption>
        <span className="num">{days[0]?.day}</span>
        <span className="keys">
          <span className="nowrap">
            <i className="key read" /> {words.read}
          </span>{" "}
          <span className="nowrap">
            <i className="key written" /> {words.written}
          </span>
        </span>
        <span className="num">{days.at(-1)?.day}</span>
      </figcaption>
    </figure>
  );
}
