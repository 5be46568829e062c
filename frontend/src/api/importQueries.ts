// What the page of imports reads. A living import is asked for each second, and its speed taken from that.

import { queryOptions } from "@tanstack/react-query";
import { get } from "./client";
import type * as S from "./shapes";

export const SHOWN = 50;
const LIVING = new Set(["waiting", "fetching", "storing"]);
const OLDEST_MS = 10_000;

export const isLiving = (item: S.Import): boolean => LIVING.has(item.state);

interface Sample {
  at: number;
  bytes: number;
}

export interface ImportSeen extends S.Import {
  /** Bytes per second of the last seconds; null where nobody can say yet. */
  speed: number | null;
}

/** Keeps the last seconds of each import, and says from them how fast it is. */
export class Speeds {
  private samples = new Map<string, { state: string; seen: Sample[] }>();

  measure(item: S.Import, now: number): number | null {
    if (!isLiving(item) || item.bytes_total === 0) {
      this.samples.delete(item.id);
      return null;
    }
    const known = this.samples.get(item.id);
    const before = known?.state === item.state ? known.seen : [];
    const seen = [...before, { at: now, bytes: item.bytes_done }].filter(
      (sample) => now - sample.at <= OLDEST_MS,
    );
    this.samples.set(item.id, { state: item.state, seen });
    const first = seen[0];
    if (!first || now - first.at < 500) return null;
    return Math.max(0, ((item.bytes_done - first.bytes) / (now - first.at)) * 1000);
  }
}

const speeds = new Speeds();

export const importQueries = {
  list: () =>
    queryOptions({
      queryKey: ["imports"],
      queryFn: async ({ signal }) => {
        const page = await get<S.Page<S.Import>>("/api/imports/", { page_size: SHOWN }, signal);
        const now = Date.now();
        const results: ImportSeen[] = page.results.map((item) => ({
          ...item,
          speed: speeds.measure(item, now),
        }));
        return { ...page, results };
      },
      refetchInterval: (query) => (query.state.data?.results.some(isLiving) ? 1000 : false),
    }),
};
