import { describe, expect, it } from "vitest";
import { kindOf, listMeasures } from "./measures";

const series = (values: number[]) => ({ steps: values.map((_, index) => index + 1), values });

describe("the measures of a run", () => {
  it("gives a pretraining its perplexity, from the evaluation loss alone", () => {
    const told = new Map([["eval_loss", series([Math.log(20), Math.log(10)])]]);
    const [perplexity, ...rest] = listMeasures(told, "pretrain");
    expect(rest).toEqual([]);
    expect(perplexity?.name).toBe("perplexity");
    expect(perplexity?.held?.values.map(Math.round)).toEqual([20, 10]);
    expect(listMeasures(told, "sft")).toEqual([]);
  });

  it("takes the run's own perplexity where it tells one", () => {
    const told = new Map([
      ["eval_loss", series([1])],
      ["eval_perplexity", series([7])],
    ]);
    expect(listMeasures(told, "pretrain")[0]?.held?.values).toEqual([7]);
  });

  it("draws training and evaluation in one chart, and what is unknown by its name", () => {
    const names = ["loss", "learning_rate", "tokens_per_s", "zeal", "accuracy", "eval_accuracy"];
    const told = new Map(names.map((name) => [name, series([0.5])]));
    const measures = listMeasures(told, "dpo");
    expect(measures.map(({ name }) => name)).toEqual(["accuracy", "zeal", "tokens_per_s"]);
    expect(measures[0]?.train && measures[0].held).toBeTruthy();
  });

  it("knows shares, sizes and speeds by their names", () => {
    expect(["mfu", "eval_accuracy", "memory_bytes", "tokens_per_s", "margin"].map(kindOf)).toEqual([
      "ratio",
      "ratio",
      "bytes",
      "speed",
      "plain",
    ]);
  });
});
