// What the launch page asks of data: which datasets suit a stage, and what is learnt of them.

import { queryOptions } from "@tanstack/react-query";
import { call, get } from "./client";
import type { Preview, SpecValue, SuitedDataset } from "./shapes";

const LIVE = new Set(["queued", "starting", "running", "stopping"]);
const ASK_EVERY_MS = 700;

export const trainingQueries = {
  datasets: (stage: string, search: string) =>
    queryOptions({
      queryKey: ["repos", "suited", stage, search],
      queryFn: ({ signal }) =>
        get<SuitedDataset[]>("/api/jobs/datasets/", { stage, search }, signal),
    }),
  /** Begins the look, or finds the one that is there, and asks on until it has ended. */
  preview: (asked: string, spec: SpecValue) =>
    queryOptions({
      queryKey: ["preview", asked],
      queryFn: ({ signal, client, queryKey }) => {
        const known = client.getQueryData<Preview>(queryKey);
        return known && LIVE.has(known.status)
          ? get<Preview>(`/api/jobs/previews/${known.id}/`, {}, signal)
          : call<Preview>("POST", "/api/jobs/previews/", { body: { spec }, signal });
      },
      refetchInterval: ({ state }) =>
        state.data && LIVE.has(state.data.status) ? ASK_EVERY_MS : false,
      staleTime: Infinity,
      retry: false,
    }),
};
