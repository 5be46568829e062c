// A log of any length, by line number: old lines are fetched page by page when looked at, new ones are pushed.
//
// Pieces of log come numbered by the line they start in. The first piece seen may continue a line whose start
// was written earlier, so lines up to that one (the seam) are fetched; every later line is whole from the stream.

import type { LogPage } from "../api/shapes";
import { Observable, type Schedule } from "./observable";

export const PAGE_LINES = 500;
const RETRY_MS = 2000;

export type FetchLines = (fromLine: number, limit: number) => Promise<LogPage>;

export class LogStore extends Observable {
  total: number;
  #seam = Infinity;
  #streamed: string[] = [];
  #pages = new Map<number, { lines: readonly string[]; end: number }>();
  #asked = new Map<number, object>();
  readonly #fetch: FetchLines;

  constructor(total: number, fetchLines: FetchLines, schedule?: Schedule) {
    super(schedule);
    this.total = total;
    this.#fetch = fetchLines;
  }

  /** The line, or undefined while it is on its way. */
  line(index: number): string | undefined {
    if (index > this.#seam) return this.#streamed[index - this.#seam - 1];
    return this.#pages.get(Math.floor(index / PAGE_LINES))?.lines[index % PAGE_LINES];
  }

  append(firstLine: number, text: string): void {
    if (text === "") return;
    if (this.#seam === Infinity) this.#seam = firstLine;
    const pieces = text.split("\n");
    pieces.forEach((piece, offset) => this.#extend(firstLine + offset, piece));
    const lastLine = firstLine + pieces.length - 1;
    // A text that ends in a newline opens a line that nothing is written in yet.
    this.total = Math.max(this.total, pieces.at(-1) === "" ? lastLine : lastLine + 1);
    if (firstLine <= this.#seam) this.#forget(Math.floor(this.#seam / PAGE_LINES));
    this.changed();
  }

  /** Fetch what is missing between two lines. */
  want(first: number, last: number): void {
    const end = Math.min(last, this.total - 1, this.#seam);
    for (let page = Math.floor(Math.max(0, first) / PAGE_LINES); page * PAGE_LINES <= end; page++) {
      const held = this.#pages.get(page)?.end ?? -1;
      if (held < this.#endOf(page) && !this.#asked.has(page)) void this.#load(page);
    }
  }

  #extend(line: number, piece: string): void {
    if (line <= this.#seam) return;
    const index = line - this.#seam - 1;
    this.#streamed[index] = (this.#streamed[index] ?? "") + piece;
  }

  #endOf(page: number): number {
    return Math.min((page + 1) * PAGE_LINES, this.total, this.#seam + 1);
  }

  /** The page has grown since: drop it, and whatever answer about it is on its way. */
  #forget(page: number): void {
    this.#pages.delete(page);
    this.#asked.delete(page);
  }

  async #load(page: number): Promise<void> {
    const question = {};
    this.#asked.set(page, question);
    const end = this.#endOf(page);
    try {
      const answer = await this.#fetch(page * PAGE_LINES, PAGE_LINES);
      if (this.#asked.get(page) !== question) return;
      this.#pages.set(page, { lines: answer.lines, end });
      this.#asked.delete(page);
      this.total = Math.max(this.total, answer.total_lines);
      this.changed();
    } catch {
      // The studio is away: whoever still looks at these lines asks again after a while.
      setTimeout(() => {
        if (this.#asked.get(page) === question) this.#asked.delete(page);
        this.changed();
      }, RETRY_MS);
    }
  }
}

// Colour codes and cursor moves (ECMA-48 control sequences) that programs write for terminals.
// eslint-disable-next-line no-control-regex -- the escape byte is what is looked for
const CONTROL = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-_])/g;

/** What a terminal would show of a line: the text after the last carriage return, without control codes. */
export function asShown(line: string): string {
  const plain = line.replace(CONTROL, "").replace(/\r+$/, "");
  return plain.slice(plain.lastIndexOf("\r") + 1);
}
