import { describe, expect, it } from "vitest";
import { Speeds } from "./importQueries";
import type { Import } from "./shapes";

const item = (state: Import["state"], bytes_done: number) =>
  ({ id: "i", state, bytes_done, bytes_total: 1000 }) as Import;

describe("the speed of an import", () => {
  it("is that of the last seconds", () => {
    const speeds = new Speeds();
    expect(speeds.measure(item("fetching", 0), 0)).toBeNull();
    expect(speeds.measure(item("fetching", 100), 1000)).toBe(100);
    expect(speeds.measure(item("fetching", 100), 12_000)).toBeNull();
    expect(speeds.measure(item("fetching", 300), 13_000)).toBe(200);
  });

  it("begins anew when it is stored, and ends with it", () => {
    const speeds = new Speeds();
    speeds.measure(item("fetching", 900), 0);
    expect(speeds.measure(item("storing", 10), 1000)).toBeNull();
    expect(speeds.measure(item("done", 1000), 2000)).toBeNull();
  });

  it("is never less than nothing", () => {
    const speeds = new Speeds();
    speeds.measure(item("fetching", 900), 0);
    expect(speeds.measure(item("fetching", 0), 1000)).toBe(0);
  });
});
