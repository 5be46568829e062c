import { describe, expect, it } from "vitest";
import type { QualityReport } from "../api/shapes";
import { quantize as english } from "../i18n/en/quantize";
import { quantize as chinese } from "../i18n/zh/quantize";
import { layerCurves, listBars, lossOf, nameScheme } from "./quality";

const REPORT: QualityReport = {
  version: 1,
  scheme: {
    method: "awq",
    format: "awq",
    weight_bits: 4,
    activation_bits: 16,
    group_size: 64,
    is_symmetric: false,
  },
  base: "athanor/tiny",
  base_revision: "",
  calibration: {
    dataset: "",
    revision: "",
    num_windows: 64,
    length_tokens: 512,
    num_held_out_windows: 16,
    num_held_out_tokens: 8192,
  },
  base_perplexity: 10,
  quantized: { perplexity: 11, agreement: 0.9 },
  kv: {
    int8: { perplexity: 11.05, agreement: 0.9 },
    int4: { perplexity: 20, agreement: 0.7 },
  },
  recommended_kv: "int8",
  kv_bound: 0.01,
  greedy: { mean_tokens: 18.5, of_tokens: 32, num_prompts: 16 },
  size_bytes: 100,
  base_size_bytes: 270,
  weights_digest: "",
  bytes_per_weight: 0.539,
  speed: null,
  speed_note: "",
  layers: [
    { index: 0, linear: 0.001, stream: 0.002 },
    { index: 1, linear: 0.004, stream: 0.003 },
    { index: 2, linear: 0.002, stream: 0.005 },
  ],
  device: "CPU, 2 threads",
  duration_s: 12,
  peak_memory_bytes: 1,
};

describe("a report card", () => {
  it("draws the base first, each bar to the largest perplexity, and marks what is recommended", () => {
    const bars = listBars(REPORT);
    expect(bars.map(({ name }) => name)).toEqual(["base", "quantized", "int8", "int4"]);
    expect(bars.map(({ share }) => share)).toEqual([0.5, 0.55, 0.5525, 1]);
    expect(bars.filter(({ isRecommended }) => isRecommended).map(({ name }) => name)).toEqual([
      "int8",
    ]);
  });

  it("leaves out what was not measured, and recommends the model as it is", () => {
    const bars = listBars({ ...REPORT, kv: {}, recommended_kv: "bf16" });
    expect(bars.map(({ name, isRecommended }) => [name, isRecommended])).toEqual([
      ["base", false],
      ["quantized", true],
    ]);
  });

  it("tells what was lost, and where most", () => {
    expect(lossOf(REPORT)).toBeCloseTo(0.1);
    expect(layerCurves(REPORT).worst).toEqual({ layer: 2, error: 0.004 });
    expect(layerCurves(REPORT).linear.steps).toEqual([1, 2, 3]);
    expect(layerCurves({ ...REPORT, layers: [] }).worst).toBeNull();
  });

  it("is named in a few signs", () => {
    expect(nameScheme(REPORT)).toBe("AWQ W4A16 g64");
    const scheme = {
      ...REPORT.scheme,
      method: "smoothquant",
      weight_bits: 8,
      activation_bits: 8,
      group_size: 0,
    };
    expect(nameScheme({ ...REPORT, scheme })).toBe("SmoothQuant W8A8");
  });
});

describe("the words of quantizing", () => {
  const leaves = (value: object, path = ""): string[] =>
    Object.entries(value).flatMap(([key, child]) =>
      typeof child === "object" && child !== null
        ? leaves(child as object, `${path}${key}.`)
        : [`${path}${key}`],
    );

  it("are there in both languages", () => {
    expect(leaves(chinese).sort()).toEqual(leaves(english).sort());
    expect(chinese.errors.model_is_quantized?.({ model: "a/b" })).toContain("a/b");
  });
});
