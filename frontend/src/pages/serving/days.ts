// Sums over the days that the API tells of; days without a request are filled in.

import type { DayUse } from "../../api/shapes";

export interface Day {
  day: string;
  read: number;
  written: number;
}

type Counts = Omit<DayUse, "day" | "model">;

const MS_A_DAY = 86_400_000;

export function addUp(uses: readonly DayUse[]): Counts {
  const sum: Counts = {
    num_requests: 0,
    num_prompt_tokens: 0,
    num_cached_tokens: 0,
    num_tokens: 0,
    cost_upoints: 0,
  };
  for (const use of uses) {
    sum.num_requests += use.num_requests;
    sum.num_prompt_tokens += use.num_prompt_tokens;
    sum.num_cached_tokens += use.num_cached_tokens;
    sum.num_tokens += use.num_tokens;
    sum.cost_upoints += use.cost_upoints;
  }
  return sum;
}

/** So many days up to today, oldest first, in UTC as the API counts them. */
export function fillDays(uses: readonly DayUse[], count: number, now = Date.now()): Day[] {
  const days = Array.from({ length: count }, (_, index): Day => {
    const at = new Date(now - (count - 1 - index) * MS_A_DAY);
    return { day: at.toISOString().slice(0, 10), read: 0, written: 0 };
  });
  const byDay = new Map(days.map((day) => [day.day, day]));
  for (const use of uses) {
    const day = byDay.get(use.day);
    if (!day) continue;
    day.read += use.num_prompt_tokens;
    day.written += use.num_tokens;
  }
  return days;
}
