// Which curves a run's page draws beside the loss, and how their numbers are shown.

import type { Series } from "./runStream";

/** How a measure's numbers are written. */
export type Kind = "ratio" | "bytes" | "speed" | "plain";

/** Drawn elsewhere on the page, or of no shape worth drawing. */
const ELSEWHERE: ReadonlySet<string> = new Set([
  "loss",
  "eval_loss",
  "learning_rate",
  "epoch",
  "memory_bytes",
  "eta_s",
  "flops_per_s",
  "roofline_flops_per_s",
]);
const RATIOS = /(^|_)(accuracy|mfu|hfu|fraction|ratio)$/;

export function kindOf(name: string): Kind {
  if (name.endsWith("_bytes")) return "bytes";
  if (name.endsWith("_per_s")) return "speed";
  return RATIOS.test(name) ? "ratio" : "plain";
}

export interface Measure {
  /** Without `eval_`: both are one chart. */
  name: string;
  train: Series | undefined;
  held: Series | undefined;
}

/** What a run measures beside its loss, first what its stage is judged by. */
export function listMeasures(series: ReadonlyMap<string, Series>, stage: string): Measure[] {
  const all = new Map(series);
  const held = series.get("eval_loss");
  if (stage === "pretrain" && held && !series.has("eval_perplexity") && !series.has("perplexity")) {
    all.set("eval_perplexity", { steps: held.steps, values: held.values.map(Math.exp) });
  }
  const names = [...all.keys()]
    .filter((name) => !ELSEWHERE.has(name))
    .map((name) => name.replace(/^eval_/, ""));
  return [...new Set(names)]
    .map((name) => ({ name, train: all.get(name), held: all.get(`eval_${name}`) }))
    .sort((a, b) => rank(a.name) - rank(b.name) || a.name.localeCompare(b.name));
}

const FIRST = [
  "perplexity",
  "accuracy",
  "margin",
  "chosen_reward",
  "rejected_reward",
  "chosen_score",
  "rejected_score",
  "mean_score",
];
const LAST = ["mfu", "hfu", "tokens_per_s", "supervised_tokens_per_s", "grad_norm"];

function rank(name: string): number {
  const first = FIRST.indexOf(name);
  if (first >= 0) return first - FIRST.length;
  return LAST.indexOf(name) + 1;
}
