// The loss mask of the first rows, made by a node: what is learnt of them, and what becomes of all rows.

import { Alert, Button, Spin } from "antd";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { trainingQueries } from "../../api/trainingQueries";
import type { Preview, SpecValue } from "../../api/shapes";
import { sayError } from "../../i18n/said";
import { useWords } from "../../i18n";
import { sayTold } from "../../i18n/told";
import { hasRepos } from "../../stores/trainForm";
import { useDelayed } from "../useDelayed";
import { MaskView } from "./MaskView";
import { useTrainingWords } from "./words";
import type { LaunchForm } from "./useLaunchForm";

/** What the mask depends on. */
const FIELDS = ["model", "dataset", "mixture", "stage", "max_length"] as const;

export function MaskPanel({ form }: { form: LaunchForm }) {
  const { text } = useWords();
  const words = useTrainingWords().mask;
  const [isWanted, setWanted] = useState(false);
  const scratch = form.spec.from_scratch as { tokenizer_from?: string | null } | null | undefined;
  const source: SpecValue = { ...form.spec, model: form.spec.model || scratch?.tokenizer_from };
  const asked = useDelayed(JSON.stringify(FIELDS.map((name) => source[name])), 800);
  const spec = Object.fromEntries(
    FIELDS.map((name, index) => [name, (JSON.parse(asked) as unknown[])[index]]).filter(
      ([, value]) => value !== undefined && value !== null,
    ),
  );
  const isReady = Boolean(spec.model && spec.dataset && hasRepos(spec.mixture));
  const look = useQuery({ ...trainingQueries.preview(asked, spec), enabled: isWanted && isReady });
  const { data, error } = look;
  return (
    <section className="panel form-part" aria-label={words.title}>
      <h2>{words.title}</h2>
      <p>{words.text}</p>
      {!isReady && <p className="muted">{scratch ? words.noTokenizer : words.pick}</p>}
      {isReady && !isWanted && <Button onClick={() => setWanted(true)}>{words.show}</Button>}
      {isReady && isWanted && error && (
        <Failed why={sayError(text, error)} onRetry={() => void look.refetch()} />
      )}
      {isReady && isWanted && !error && <Look data={data} onRetry={() => void look.refetch()} />}
    </section>
  );
}

function Look({ data, onRetry }: { data: Preview | undefined; onRetry: () => void }) {
  const { language } = useWords();
  const words = useTrainingWords().mask;
  const said = data ? sayTold(language, data.message, data.told) : "";
  if (data?.inspection) return <MaskView inspection={data.inspection} />;
  if (data && ["failed", "stopped", "succeeded"].includes(data.status))
    return <Failed why={said} onRetry={onRetry} />;
  const isWaiting = !data || data.status === "queued";
  return (
    <div className="row" role="status">
      <Spin size="small" /> <span>{isWaiting ? words.queued : words.running}</span>
      {data?.status === "queued" && <span className="muted small">{said}</span>}
    </div>
  );
}

function Failed({ why, onRetry }: { why: string; onRetry: () => void }) {
  const words = useTrainingWords().mask;
  return (
    <Alert
      type="warning"
      showIcon
      title={words.failed}
      description={<span className="break">{why}</span>}
      action={
        <Button size="small" onClick={onRetry}>
          {words.again}
        </Button>
      }
    />
  );
}
