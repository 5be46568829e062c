// What the advisor says of the form, asked again when typing pauses.

import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { call } from "../../api/client";
import type { Estimate } from "../../api/shapes";
import { hasRepos } from "../../stores/trainForm";
import { useDelayed } from "../useDelayed";
import type { LaunchForm } from "./useLaunchForm";

/** Say whether there is enough of a spec to weigh. */
function isTold({ kind, ...spec }: LaunchForm["spec"]): boolean {
  const { model, from_scratch, dataset, mixture, command } = spec;
  if (kind === "script") return Array.isArray(command) && command.length > 0;
  if (kind === "quantize") return Boolean(model);
  return Boolean((model || from_scratch) && dataset && hasRepos(mixture));
}

export function useEstimate({ spec, flavor }: LaunchForm) {
  const rested = useDelayed(JSON.stringify({ spec, flavor }), 300);
  const asked = JSON.parse(rested) as Pick<LaunchForm, "spec" | "flavor">;
  const isReady = Boolean(isTold(asked.spec) && asked.flavor);
  const query = useQuery({
    queryKey: ["estimate", rested],
    queryFn: ({ signal }) => call<Estimate>("POST", "/api/jobs/estimate/", { body: asked, signal }),
    enabled: isReady,
    placeholderData: keepPreviousData,
    staleTime: 10_000,
  });
  const isCurrent = rested === JSON.stringify({ spec, flavor }) && !query.isPlaceholderData;
  return { estimate: isReady ? query.data : undefined, error: query.error, isCurrent, isReady };
}
