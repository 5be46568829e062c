// What a run says, in order and once: a cursor over its events, and what the page draws from them.

import type { Metrics, Progress, RunEvent } from "../api/shapes";
import type { LogStore } from "./logStore";
import { Observable, type Schedule } from "./observable";

export interface Series {
  steps: number[];
  values: number[];
}

export class RunStream extends Observable {
  readonly runId: string;
  readonly log: LogStore;
  readonly series = new Map<string, Series>();
  progress: Progress | null = null;
  /** How often a sample or an artifact arrived; whoever shows them asks again when it grows. */
  numSamples = 0;
  numArtifacts = 0;
  #nextSeq: number;

  constructor(runId: string, nextSeq: number, log: LogStore, schedule?: Schedule) {
    super(schedule);
    this.runId = runId;
    this.#nextSeq = nextSeq;
    this.log = log;
  }

  get nextSeq(): number {
    return this.#nextSeq;
  }

  /** Take a batch; events sent again after a reconnect are dropped. */
  acceptAll(events: readonly RunEvent[]): void {
    for (const event of events) this.accept(event);
  }

  accept(event: RunEvent): void {
    if (event.seq < this.#nextSeq) return;
    this.#nextSeq = event.seq + 1;
    if (event.type === "log") {
      this.log.append(event.first_line ?? 0, event.text ?? "");
      return;
    }
    if (event.type === "metric") {
      for (const [name, value] of Object.entries(event.values ?? {})) {
        this.#add(name, event.step, value);
      }
    }
    if (event.type === "progress") {
      const { stage = "", done = 0, total = null, unit = "", eta_s = null } = event;
      this.progress = { stage, done, total, unit, eta_s };
    }
    if (event.type === "sample") this.numSamples += 1;
    if (event.type === "artifact") this.numArtifacts += 1;
    this.changed();
  }

  /** Join what was measured before this page opened; the socket may have told some of it already. */
  loadMetrics(metrics: Metrics): void {
    for (const [name, points] of Object.entries(metrics.series)) {
      for (const [step, value] of points) this.#add(name, step, value);
    }
    this.changed();
  }

  /** A value of null was not a finite number. */
  #add(name: string, step: number | null | undefined, number: number | null | undefined): void {
    if (step === null || step === undefined) return;
    const value = number ?? NaN;
    let series = this.series.get(name);
    if (!series) this.series.set(name, (series = { steps: [], values: [] }));
    const last = series.steps.at(-1);
    if (last === undefined || step > last) {
      series.steps.push(step);
      series.values.push(value);
      return;
    }
    const index = lowerBound(series.steps, step);
    if (series.steps[index] === step) series.values[index] = value;
    else {
      series.steps.splice(index, 0, step);
      series.values.splice(index, 0, value);
    }
  }
}

function lowerBound(sorted: readonly number[], wanted: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] ?? Infinity) < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Exponential moving average without the pull towards zero at its start (Adam, arXiv 1412.6980, section 3). */
export function smooth(values: readonly number[], weight: number): number[] {
  if (weight <= 0) return [...values];
  let mean = 0;
  let num = 0;
  return values.map((value) => {
    if (!Number.isFinite(value)) return value;
    num += 1;
    mean = weight * mean + (1 - weight) * value;
    return mean / (1 - weight ** num);
  });
}
