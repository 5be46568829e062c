// The spec a job was launched with, to read, to copy, and to launch again.

import { useMemo } from "react";
import type { Job } from "../../api/shapes";
import { useWords } from "../../i18n";
import { toYaml } from "../../stores/specYaml";
import { CodeBlock } from "../../widgets/CodeBlock";
import { LinkButton } from "../../widgets/LinkButton";

export function SpecTab({ job }: { job: Job }) {
  const { text } = useWords();
  const yaml = useMemo(() => toYaml(job.spec), [job.spec]);
  return (
    <div className="panel">
      <div className="row between">
        <h2 className="section-title" style={{ margin: 0 }}>
          {text.launch.yamlLabel}
        </h2>
        {["train", "quantize", "script"].includes(job.kind) && (
          <LinkButton to={`/launch?from=${job.id}`}>{text.jobs.spec.again}</LinkButton>
        )}
      </div>
      <CodeBlock code={yaml} label={text.launch.yamlLabel} />
      <h2 className="section-title">{text.jobs.spec.command}</h2>
      <CodeBlock
        code={
          job.kind === "script"
            ? `athanor job submit spec.yaml --flavor ${job.flavor}`
            : `python -m engine ${job.kind} spec.yaml`
        }
        label={text.jobs.spec.command}
      />
    </div>
  );
}
