// How an adapter was made, as its run recorded it.

import { lazy, Suspense } from "react";
import { useWords } from "../../i18n";
import { CodeBlock } from "../../widgets/CodeBlock";

const YamlBlock = lazy(async () => {
  const { toYaml } = await import("../../stores/specYaml");
  return {
    default: ({ value, label }: { value: Record<string, unknown>; label: string }) => (
      <CodeBlock code={toYaml(value)} label={label} />
    ),
  };
});

export function Provenance({ provenance }: { provenance: Record<string, unknown> }) {
  const { text } = useWords();
  return (
    <div className="panel">
      <p className="muted" style={{ marginTop: 0 }}>
        {text.hub.provenanceText}
      </p>
      <Suspense>
        <YamlBlock value={provenance} label={text.hub.tab.provenance} />
      </Suspense>
    </div>
  );
}
