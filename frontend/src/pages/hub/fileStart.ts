// The beginning of a file, by a range: a page never fetches a large file whole.

import { send } from "../../api/client";

export const MOST_SHOWN_BYTES = 512 * 1024;

export interface FileStart {
  /** None of a file that is no text. */
  text: string | null;
  numBytes: number;
}

export async function readStart(
  url: string,
  size: number,
  signal: AbortSignal,
): Promise<FileStart> {
  if (size === 0) return { text: "", numBytes: 0 };
  const headers = { Range: `bytes=0-${MOST_SHOWN_BYTES - 1}`, Accept: "*/*" };
  const response = await send("GET", url, { headers, signal });
  const bytes = await readBytes(response);
  return { text: decodeText(bytes), numBytes: bytes.length };
}

/** A server between may pass a range over and send all: what is beyond the limit is never read. */
async function readBytes(response: Response): Promise<Uint8Array> {
  const reader = response.body?.getReader();
  const pieces: Uint8Array[] = [];
  let length = 0;
  while (reader && length < MOST_SHOWN_BYTES) {
    const { done, value } = await reader.read();
    if (done) break;
    pieces.push(value);
    length += value.length;
  }
  void reader?.cancel();
  const whole = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole.subarray(0, MOST_SHOWN_BYTES);
}

/** UTF-8 without a zero byte is text; a letter that the limit cuts is left out. */
export function decodeText(bytes: Uint8Array): string | null {
  if (bytes.includes(0)) return null;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
  } catch {
    return null;
  }
}

const LANGUAGES: Record<string, string> = {
  json: "json",
  jsonl: "json",
  ipynb: "json",
  py: "python",
  yaml: "yaml",
  yml: "yaml",
  md: "markdown",
  sh: "bash",
  toml: "ini",
  ini: "ini",
  cfg: "ini",
  xml: "xml",
  html: "xml",
  svg: "xml",
  js: "javascript",
  ts: "typescript",
  css: "css",
  c: "c",
  h: "c",
  cpp: "cpp",
  rs: "rust",
  go: "go",
  java: "java",
  sql: "sql",
};
const PICTURES = new Set(["png", "jpg", "jpeg", "gif", "webp", "bmp", "avif"]);

export const endingOf = (path: string): string => path.split(".").at(-1)?.toLowerCase() ?? "";
export const languageOf = (path: string): string => LANGUAGES[endingOf(path)] ?? "";
export const isPicture = (path: string): boolean => PICTURES.has(endingOf(path));
export const hasTensors = (path: string): boolean =>
  ["safetensors", "gguf"].includes(endingOf(path));

/** A text as a fenced block that nothing in it can end. */
export function fence(text: string, language: string): string {
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((run) => run.length));
  const marks = "`".repeat(longest + 1);
  return `${marks}${language}\n${text}\n${marks}`;
}
