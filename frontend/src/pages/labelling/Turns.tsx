// Turns of a conversation, as they stand in a dataset.

import type { LabelTurn } from "../../api/shapes";
import { useWords } from "../../i18n";

export function Turns({ turns }: { turns: readonly LabelTurn[] }) {
  const { text } = useWords();
  return turns.map((turn, index) => (
    <div key={index} className={`turn ${turn.role}`}>
      <div className="who">{text.hub.viewer.role[turn.role] ?? turn.role}</div>
      <div className="said">{turn.content}</div>
    </div>
  ));
}
