// What is asked of models: servers' health, which revision answers, API keys, and what was used.

import { queryOptions } from "@tanstack/react-query";
import { get } from "./client";
import type {
  ApiKey,
  DayUse,
  DeploymentHealth,
  Page,
  Rollout,
  ServingSettings,
  ServingSettingsLine,
} from "./shapes";

const LOOK_EVERY_MS = 3000;
const COUNT_EVERY_MS = 10_000; // what programs used meanwhile

export const servingQueries = {
  health: (id: string) =>
    queryOptions({
      queryKey: ["deployments", "health", id],
      queryFn: ({ signal }) => get<DeploymentHealth>(`/api/deployments/${id}/health/`, {}, signal),
      refetchInterval: LOOK_EVERY_MS,
    }),
  settings: (model: string) =>
    queryOptions({
      queryKey: ["serving-settings", model],
      queryFn: ({ signal }) => get<ServingSettings>(`/api/serving/settings/${model}/`, {}, signal),
      refetchOnWindowFocus: false, // what is typed is not written over
    }),
  allSettings: () =>
    queryOptions({
      queryKey: ["serving-settings"],
      queryFn: async ({ signal }) =>
        (await get<Page<ServingSettingsLine>>("/api/serving/settings/", { page_size: 100 }, signal))
          .results,
    }),
  rollouts: () =>
    queryOptions({
      queryKey: ["rollouts"],
      queryFn: async ({ signal }) =>
        (await get<Page<Rollout>>("/api/rollouts/", { page_size: 100 }, signal)).results,
      refetchInterval: LOOK_EVERY_MS,
    }),
  keys: () =>
    queryOptions({
      queryKey: ["api-keys"],
      queryFn: async ({ signal }) =>
        (await get<Page<ApiKey>>("/api/api-keys/", { page_size: 100 }, signal)).results,
      refetchInterval: COUNT_EVERY_MS,
    }),
  uses: (days: number, key: number | null) =>
    queryOptions({
      queryKey: ["model-uses", days, key],
      queryFn: ({ signal }) =>
        get<DayUse[]>("/api/model-uses/", key === null ? { days } : { days, key }, signal),
      refetchInterval: COUNT_EVERY_MS,
    }),
};
