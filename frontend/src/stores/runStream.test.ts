import { describe, expect, it } from "vitest";
import type { RunEvent } from "../api/shapes";
import { LogStore } from "./logStore";
import { RunStream, smooth } from "./runStream";

const now = (wake: () => void) => wake();
const metric = (seq: number, step: number, loss: number): RunEvent => ({
  seq,
  time: 0,
  type: "metric",
  step,
  values: { loss },
});

function makeStream(nextSeq: number) {
  const log = new LogStore(
    0,
    async () => ({ first_line: 0, lines: [], total_lines: 0, log_bytes: 0, complete: false }),
    now,
  );
  return new RunStream("run", nextSeq, log, now);
}

describe("the stream of a run", () => {
  it("moves its cursor on and drops what is sent again", () => {
    const stream = makeStream(5);
    stream.acceptAll([metric(4, 1, 9), metric(5, 2, 3), metric(5, 2, 99), metric(6, 3, 2)]);
    expect(stream.nextSeq).toBe(7);
    expect(stream.series.get("loss")).toEqual({ steps: [2, 3], values: [3, 2] });
  });

  it("joins measured history with what the socket told meanwhile, in step order", () => {
    const stream = makeStream(0);
    stream.accept(metric(0, 3, 1));
    stream.loadMetrics({
      series: {
        loss: [
          [1, 3, 0],
          [2, 2, 0],
          [3, 1, 0],
        ],
      },
    });
    expect(stream.series.get("loss")).toEqual({ steps: [1, 2, 3], values: [3, 2, 1] });
  });

  it("hands log pieces to the log and wakes no reader of the curves for them", () => {
    const stream = makeStream(0);
    let numWakes = 0;
    stream.subscribe(() => (numWakes += 1));
    stream.accept({ seq: 0, time: 0, type: "log", text: "hello\n", first_line: 0 });
    expect(stream.log.total).toBe(1);
    expect(numWakes).toBe(0);
  });
});

describe("smoothing", () => {
  it("keeps a constant constant from its first value on", () => {
    for (const value of smooth([2, 2, 2, 2], 0.9)) expect(value).toBeCloseTo(2, 12);
  });

  it("changes nothing at weight 0 and passes over what is not a number", () => {
    expect(smooth([1, 5], 0)).toEqual([1, 5]);
    expect(smooth([1, NaN, 1], 0.5)).toEqual([1, NaN, 1]);
  });
});
