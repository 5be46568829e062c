import { describe, expect, it } from "vitest";
import { lastOf, toPoints } from "./usageCurves";

describe("a machine's minutes", () => {
  it("are points from a time on, and missing figures are no numbers", () => {
    expect(toPoints([0, 60, 120], [1, null, 3], 60)).toEqual({
      steps: [60, 120],
      values: [NaN, 3],
    });
  });

  it("have a gap where the machine did not run", () => {
    const points = toPoints([0, 60, 600], [1, 2, 3], 0);
    expect(points).toEqual({ steps: [0, 60, 120, 600], values: [1, 2, NaN, 3] });
  });

  it("end with the last figure that is one", () => {
    expect(lastOf({ steps: [0, 60], values: [5, NaN] })).toBe(5);
    expect(lastOf({ steps: [], values: [] })).toBeNull();
  });
});
