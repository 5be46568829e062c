// Launch a finetune: what, how, where, and the advisor beside it.

import { useQuery } from "@tanstack/react-query";
import { useSearchParams } from "react-router";
import { queries } from "../../api/queries";
import { useWords } from "../../i18n";
import { Fault } from "../../widgets/Fault";
import { PageHead } from "../../widgets/PageHead";
import { PageSkeleton } from "../../widgets/PageSkeleton";
import { LaunchFormView } from "./LaunchFormView";

export function LaunchPage() {
  const { text } = useWords();
  const [params] = useSearchParams();
  const from = params.get("from") ?? "";
  const info = useQuery(queries.specInfo("train"));
  const job = useQuery({ ...queries.job(from), enabled: from !== "" });
  const error = info.error ?? job.error;
  if (error) {
    return (
      <div className="page">
        <Fault error={error} onRetry={() => void info.refetch()} />
      </div>
    );
  }
  if (!info.data || (from && !job.data)) return <PageSkeleton />;
  return (
    <div className="page">
      <PageHead title={text.launch.title} lead={text.launch.lead} />
      <LaunchFormView
        key={params.toString()}
        info={info.data}
        from={job.data ?? null}
        model={params.get("model") ?? ""}
        dataset={params.get("dataset") ?? ""}
      />
    </div>
  );
}
