// Loads the Markdown renderer when the first text needs it; until then the text is shown as it is.

import { lazy, Suspense } from "react";
import type { MarkdownProps } from "./Markdown";

const Markdown = lazy(async () => ({ default: (await import("./Markdown")).Markdown }));

export function LazyMarkdown({ text, resolve }: MarkdownProps) {
  return (
    <Suspense fallback={<div style={{ whiteSpace: "pre-wrap" }}>{text}</div>}>
      <Markdown text={text} resolve={resolve} />
    </Suspense>
  );
}
