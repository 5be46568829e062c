// How to do the same from a terminal: against this studio, or with the engine alone.

import { Collapse } from "antd";
import { useWords } from "../../i18n";
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
              {form.spec.kind === "script" ? (
                <>
                  <p>{words.script.commandHere}</p>
                  <CodeBlock
                    code={`athanor job submit spec.yaml --flavor ${form.flavor || "cpu-1"}`}
                    label={words.script.commandHere}
                  />
                </>
              ) : (
                <>
                  <p>{words.commandLocal}</p>
                  <CodeBlock code="python -m engine train spec.yaml" label={words.commandLocal} />
                </>
              )}
            </>
          ),
        },
      ]}
    />
  );
}
