// How long a machine still goes; its colour warns ten minutes and two minutes before.

import { secondsLeft } from "../../api/machineQueries";
import type { Machine } from "../../api/shapes";
import { useWords } from "../../i18n";
import { useNow } from "./useNow";

export const WARN_S = 600;
export const LAST_S = 120;

export function TimeLeft({ machine }: { machine: Machine }) {
  const { text, format } = useWords();
  const left = secondsLeft(machine, useNow());
  if (left === null) return <span className="muted">–</span>;
  const tone = left <= LAST_S ? "bad" : left <= WARN_S ? "warn" : "";
  const shown = left >= 3600 ? Math.round(left / 60) * 60 : left;
  return <span className={`num ${tone}`}>{text.machines.left(format.duration(shown))}</span>;
}
