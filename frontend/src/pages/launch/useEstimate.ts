// What the advisor says of the form, asked again when typing pauses.

import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { call } from "../../api/client";
import type { Estimate } from "../../api/shapes";
import { useDelayed } from "../useDelayed";
import type { LaunchForm } from "./useLaunchForm";

export function useEstimate({ spec, flavor }: LaunchForm) {
  const rested = useDelayed(JSON.stringify({ spec, flavor }), 300);
  const asked = JSON.parse(rested) as Pick<LaunchForm, "spec" | "flavor">;
  const { model, from_scratch, dataset, command } = asked.spec;
  const isTold =
    asked.spec.kind === "script"
      ? Array.isArray(command) && command.length > 0
      : (model || from_scratch) && dataset;
  const isReady = Boolean(isTold && asked.flavor);
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
