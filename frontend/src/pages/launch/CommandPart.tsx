// How to do the same from a terminal: against this studio, or with the engine alone.

import { Collapse } from "antd";
import { useWords } from "../../i18n";
import { useQuantizeWords } from "../../i18n/quantizeWords";
import { CodeBlock } from "../../widgets/CodeBlock";
import type { LaunchForm } from "./useLaunchForm";

export function curlFor({ spec, flavor, name }: LaunchForm, origin: string): string {
  const body = JSON.stringify({ ...(name && { name }), spec, flavor }, null, 2);
  return [
    `curl ${origin}/api/jobs/ \\`,
    '  -H "Authorization: Bearer $ATHANOR_TOKEN" \\',
    '  -H "Content-Type: application/json" \\',
    '  -H "Idempotency-Key: $(date +%s)-$RANDOM" \\',
    // A quote inside single quotes has to leave them, say itself, and come back.
    `  -d '${body.replaceAll("'", `'\\''`)}'`,
  ].join("\n");
}

export function CommandPart({ form }: { form: LaunchForm }) {
  const { text } = useWords();
  const words = text.launch;
  const quantize = useQuantizeWords();
  const kind = String(form.spec.kind);
  const local = kind === "quantize" ? quantize.commandLocal : words.commandLocal;
  return (
    <Collapse
      ghost
      items={[
        {
          key: "command",
          label: words.command,
          children: (
            <>
              <p>{words.commandHub}</p>
              <CodeBlock code={curlFor(form, location.origin)} label={words.commandHub} />
              {kind === "script" ? (
                <>
                  <p>{words.script.commandHere}</p>
                  <CodeBlock
                    code={`athanor job submit spec.yaml --flavor ${form.flavor || "cpu-1"}`}
                    label={words.script.commandHere}
                  />
                </>
              ) : (
                <>
                  <p>{local}</p>
                  <CodeBlock code={`python -m engine ${kind} spec.yaml`} label={local} />
                </>
              )}
            </>
          ),
        },
      ]}
    />
  );
}
