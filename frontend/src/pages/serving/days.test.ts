import { describe, expect, it } from "vitest";
import type { DayUse } from "../../api/shapes";
import { addUp, fillDays } from "./days";

const use = (day: string, model: string, tokens: number): DayUse => ({
  day,
  model,
  num_requests: 1,
  num_prompt_tokens: 10,
  num_cached_tokens: 4,
  num_tokens: tokens,
  cost_upoints: 7,
});
const NOW = Date.UTC(2026, 10, 3, 23, 59);

describe("days of use", () => {
  it("are filled in up to today, with the models of a day together", () => {
    const days = fillDays([use("2026-11-02", "a", 5), use("2026-11-02", "b", 6)], 3, NOW);
    expect(days).toEqual([
      { day: "2026-11-01", read: 0, written: 0 },
      { day: "2026-11-02", read: 20, written: 11 },
      { day: "2026-11-03", read: 0, written: 0 },
    ]);
  });

  it("leave out what is before the first", () => {
    expect(fillDays([use("2026-10-01", "a", 5)], 2, NOW).every(({ read }) => read === 0)).toBe(
      true,
    );
  });

  it("add up", () => {
    const sum = addUp([use("2026-11-02", "a", 5), use("2026-11-01", "a", 6)]);
    expect(sum).toMatchObject({ num_requests: 2, num_tokens: 11, cost_upoints: 14 });
    expect(addUp([]).num_requests).toBe(0);
  });
});
