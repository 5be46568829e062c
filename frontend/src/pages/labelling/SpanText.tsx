// A text with its spans drawn: colour, a line, and the label's name where each begins.

import { useEffect, useRef, type CSSProperties } from "react";
import type { LabelSpan } from "../../api/shapes";
import { useWords } from "../../i18n";
import { cut } from "../../stores/spans";

interface Props {
  text: string;
  spans: readonly LabelSpan[];
  labels: readonly string[];
  /** What is selected, in UTF-16 units of the text. */
  onSelect?: (from: number, to: number) => void;
}

export const hueOf = (index: number) => String((20 + index * 137) % 360);

export function SpanText({ text, spans, labels, onSelect }: Props) {
  const { text: words } = useWords();
  const frame = useRef<HTMLDivElement>(null);
  const tell = useRef(onSelect);
  useEffect(() => {
    tell.current = onSelect;
  });
  useEffect(() => {
    const look = () => {
      const selection = document.getSelection();
      const box = frame.current;
      if (!box || !selection || selection.rangeCount === 0) return;
      const range = selection.getRangeAt(0);
      if (!box.contains(range.startContainer) || !box.contains(range.endContainer)) return;
      const before = document.createRange();
      before.selectNodeContents(box);
      before.setEnd(range.startContainer, range.startOffset);
      const from = before.toString().length;
      tell.current?.(from, from + range.toString().length);
    };
    document.addEventListener("selectionchange", look);
    return () => document.removeEventListener("selectionchange", look);
  }, []);
  return (
    <div
      ref={frame}
      className="label-text"
      tabIndex={0}
      role="region"
      aria-label={words.labelling.work.spans.text}
      data-testid="span-text"
    >
      {cut(text, spans).map((piece) =>
        piece.labels.length === 0 ? (
          <span key={piece.start}>{piece.text}</span>
        ) : (
          <mark
            key={piece.start}
            className={piece.labels.length > 1 ? "overlaps" : undefined}
            style={{ "--hue": hueOf(labels.indexOf(piece.labels.at(-1) ?? "")) } as CSSProperties}
            data-begins={piece.begins.length ? piece.begins.join(" ") : undefined}
            title={piece.labels.join(", ")}
          >
            {piece.text}
          </mark>
        ),
      )}
    </div>
  );
}
