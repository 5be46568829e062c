// Loads the Markdown renderer when the first text needs it; until then the text is shown as it is.

import { lazy, Suspense } from "react";

const Markdown = lazy(async () => ({ default: (await import("./Markdown")).Markdown }));

export function LazyMarkdown({ text }: { text: string }) {
  return (
    <Suspense fallback={<div style={{ whiteSpace: "pre-wrap" }}>{text}</div>}>
      <Markdown text={text} />
    </Suspense>
  );
}
