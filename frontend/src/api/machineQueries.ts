// What the pages of dev machines read. One that moves is asked for often; a running one costs little to look at.

import { queryOptions } from "@tanstack/react-query";
import { call, get } from "./client";
import type * as S from "./shapes";

const MOVING = new Set(["queued", "starting", "stopping", "deleting"]);
const OFTEN_MS = 1500;
const SELDOM_MS = 10_000;

export const isMoving = (machine: S.Machine): boolean =>
  MOVING.has(machine.status) ||
  (machine.status === "running" && !machine.progress.is_usable) ||
  machine.saving?.ended_at === null;

/** Seconds until the time that is held for is used up; null where nothing runs. */
export function secondsLeft(machine: S.Machine, now: number): number | null {
  const lease = machine.lease;
  if (!lease?.is_open || !lease.ends_at || machine.status !== "running") return null;
  return Math.max(0, (Date.parse(lease.ends_at) - now) / 1000);
}

export const machineQueries = {
  list: () =>
    queryOptions({
      queryKey: ["machines", "list"],
      queryFn: ({ signal }) => get<S.Machine[]>("/api/machines/", {}, signal),
      refetchInterval: (query) => (query.state.data?.some(isMoving) ? OFTEN_MS : SELDOM_MS),
    }),
  one: (key: string) =>
    queryOptions({
      queryKey: ["machines", "one", key],
      queryFn: ({ signal }) => get<S.Machine>(`/api/machines/${key}/`, {}, signal),
      refetchInterval: (query) =>
        query.state.data && isMoving(query.state.data) ? OFTEN_MS : SELDOM_MS,
    }),
  options: () =>
    queryOptions({
      queryKey: ["machines", "options"],
      queryFn: ({ signal }) => get<S.MachineOptions>("/api/machines/options/", {}, signal),
      refetchInterval: SELDOM_MS,
    }),
  ports: (key: string) =>
    queryOptions({
      queryKey: ["machines", "ports", key],
      queryFn: ({ signal }) => get<S.MachinePort[]>(`/api/machines/${key}/ports/`, {}, signal),
    }),
  saved: () =>
    queryOptions({
      queryKey: ["machines", "saved"],
      queryFn: ({ signal }) => get<S.SavedImage[]>("/api/saved-images/", {}, signal),
      refetchInterval: (query) =>
        query.state.data?.some((image) => image.status === "saving") ? OFTEN_MS : SELDOM_MS,
    }),
  keys: () =>
    queryOptions({
      queryKey: ["ssh-keys"],
      queryFn: ({ signal }) => get<S.SshKey[]>("/api/ssh-keys/", {}, signal),
    }),
};

export const put = <T>(path: string, body: unknown) => call<T>("PUT", path, { body });
