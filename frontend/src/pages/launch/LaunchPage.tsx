// Launch a job: a finetune or a script; what, how, where, and the advisor beside it.

import { useQuery } from "@tanstack/react-query";
import { Segmented } from "antd";
import { useNavigate, useSearchParams } from "react-router";
import { queries } from "../../api/queries";
import { useWords } from "../../i18n";
import { useQuantizeWords } from "../../i18n/quantizeWords";
import { Fault } from "../../widgets/Fault";
import { PageHead } from "../../widgets/PageHead";
import { PageSkeleton } from "../../widgets/PageSkeleton";
import { EngineBanner } from "../machines/EngineBanner";
import { LaunchFormView } from "./LaunchFormView";

const KINDS = ["train", "quantize", "script"] as const;

/** The repo of a kind where the hub has just one: nobody should have to pick it. */
function useOnly(filter: { kind: "model" | "dataset"; role?: "base" }) {
  const { data, isPending } = useQuery(queries.repos({ ...filter, page_size: 2 }));
  return { isPending, id: data?.count === 1 ? (data.results[0]?.id ?? "") : "" };
}

export function LaunchPage() {
  const { text } = useWords();
  const navigate = useNavigate();
  const [params] = useSearchParams();
  const from = params.get("from") ?? "";
  const job = useQuery({ ...queries.job(from), enabled: from !== "" });
  const wanted = job.data?.kind ?? params.get("kind");
  const kind = KINDS.find((one) => one === wanted) ?? "train";
  const quantize = useQuantizeWords();
  const info = useQuery({ ...queries.specInfo(kind), enabled: !from || job.data !== undefined });
  const model = useOnly({ kind: "model", role: "base" });
  const dataset = useOnly({ kind: "dataset" });
  const error = info.error ?? job.error;
  if (error) {
    return (
      <div className="page">
        <Fault error={error} onRetry={() => void info.refetch()} />
      </div>
    );
  }
  const isWaiting = !info.data || (from && !job.data) || model.isPending || dataset.isPending;
  if (isWaiting) return <PageSkeleton />;
  const words = { train: text.launch, quantize, script: text.launch.script }[kind];
  return (
    <div className="page">
      <PageHead title={words.title} lead={words.lead} />
      <Segmented
        value={kind}
        aria-label={text.launch.kindLabel}
        style={{ marginBottom: 16 }}
        options={KINDS.map((value) => ({ value, label: text.jobs.kind[value] }))}
        onChange={(next) => void navigate(next === "train" ? "/launch" : `/launch?kind=${next}`)}
      />
      {kind === "script" && <EngineBanner title={text.launch.script.noEngine} />}
      <LaunchFormView
        key={`${kind} ${params.toString()}`}
        info={info.data}
        from={job.data ?? null}
        model={params.get("model") ?? model.id}
        dataset={params.get("dataset") ?? dataset.id}
        stage={params.get("stage") ?? ""}
      />
    </div>
  );
}
