// Spans of a text: from the browser's UTF-16 places to the studio's code points and back, and the
// pieces that overlapping spans cut a text into. Knows no DOM.

import type { LabelSpan } from "../api/shapes";

export interface Piece {
  text: string;
  /** Where it starts, in UTF-16 units: the measure of DOM ranges. */
  start: number;
  labels: string[];
  /** Labels whose span begins here. */
  begins: string[];
}

/** Return how many code points lie before a place; a place inside of a pair counts the whole pair. */
export function toCodePoints(text: string, place: number): number {
  let count = 0;
  for (let at = 0; at < place && at < text.length; count += 1) {
    at += (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
  }
  return count;
}

/** Return the UTF-16 place of each code point, and of the end. */
export function placesOf(text: string): number[] {
  const places = [0];
  for (const character of text) places.push((places.at(-1) ?? 0) + character.length);
  return places;
}

/** Return a span of some selected text without the blanks around it; null where nothing is left. */
export function spanOf(text: string, from: number, to: number, label: string): LabelSpan | null {
  const words = text.slice(from, to);
  const start = from + (words.length - words.trimStart().length);
  const end = to - (words.length - words.trimEnd().length);
  if (start >= end) return null;
  return { start: toCodePoints(text, start), end: toCodePoints(text, end), label };
}

/** Return a span for each place where the words stand. */
export function findAll(text: string, words: string, label: string): LabelSpan[] {
  const found: LabelSpan[] = [];
  if (!words) return found;
  for (let at = text.indexOf(words); at >= 0; at = text.indexOf(words, at + words.length)) {
    const span = spanOf(text, at, at + words.length, label);
    if (span) found.push(span);
  }
  return found;
}

export const isSame = (a: LabelSpan, b: LabelSpan) =>
  a.start === b.start && a.end === b.end && a.label === b.label;

/** Return spans with others added, each once, in the order of the text. */
export function addSpans(spans: readonly LabelSpan[], more: readonly LabelSpan[]): LabelSpan[] {
  const all = [...spans];
  for (const span of more) if (!all.some((known) => isSame(known, span))) all.push(span);
  return all.sort((a, b) => a.start - b.start || b.end - a.end || a.label.localeCompare(b.label));
}

export function textOf(text: string, span: LabelSpan): string {
  const places = placesOf(text);
  return text.slice(places[span.start], places[span.end]);
}

/** Cut a text wherever a span begins or ends. */
export function cut(text: string, spans: readonly LabelSpan[]): Piece[] {
  const places = placesOf(text);
  const last = places.length - 1;
  const edges = new Set([0, last]);
  for (const span of spans) {
    edges.add(Math.min(span.start, last));
    edges.add(Math.min(span.end, last));
  }
  const sorted = [...edges].sort((a, b) => a - b);
  return sorted.slice(0, -1).map((from, index) => {
    const to = sorted[index + 1] ?? last;
    const over = spans.filter((span) => span.start <= from && span.end >= to);
    return {
      text: text.slice(places[from], places[to]),
      start: places[from] ?? 0,
      labels: [...new Set(over.map((span) => span.label))],
      begins: over.filter((span) => span.start === from).map((span) => span.label),
    };
  });
}
