// What a report card's drawing shows: its bars, its curves, and its scheme in a few signs. No words of any language.

import type { QualityReport } from "../api/shapes";

export interface Bar {
  /** `base`, `quantized`, or the precision of keys and values. */
  name: string;
  perplexity: number;
  /** 0..1 of the longest bar. */
  share: number;
  isRecommended: boolean;
}

/** The base first, then the quantized model by how it keeps keys and values. */
export function listBars(report: QualityReport): Bar[] {
  const { kv } = report;
  const rows: [string, number | undefined, string][] = [
    ["base", report.base_perplexity, ""],
    ["quantized", report.quantized.perplexity, "bf16"],
    ["int8", kv.int8?.perplexity, "int8"],
    ["int4", kv.int4?.perplexity, "int4"],
  ];
  const known = rows.filter((row): row is [string, number, string] => row[1] !== undefined);
  const most = Math.max(...known.map(([, perplexity]) => perplexity));
  return known.map(([name, perplexity, precision]) => ({
    name,
    perplexity,
    share: perplexity / most,
    isRecommended: precision === report.recommended_kv,
  }));
}

const METHODS: Record<string, string> = {
  awq: "AWQ",
  gptq: "GPTQ",
  rtn: "RTN",
  smoothquant: "SmoothQuant",
};

/** Such as `AWQ W4A16 g64`. */
export function nameScheme({ scheme }: QualityReport): string {
  const bits = `W${scheme.weight_bits}A${scheme.activation_bits}`;
  const group = scheme.group_size ? ` g${scheme.group_size}` : "";
  return `${METHODS[scheme.method] ?? scheme.method} ${bits}${group}`;
}

/** How much larger the perplexity is, as a share; less than nothing is better. */
export function lossOf(report: QualityReport): number {
  return report.quantized.perplexity / report.base_perplexity - 1;
}

export interface LayerCurves {
  linear: { steps: number[]; values: number[] };
  stream: { steps: number[]; values: number[] };
  /** The layer whose linear outputs err most, from 1; null where nothing is told of layers. */
  worst: { layer: number; error: number } | null;
}

export function layerCurves({ layers }: QualityReport): LayerCurves {
  const steps = layers.map(({ index }) => index + 1);
  const worst = layers.reduce<LayerCurves["worst"]>(
    (most, { index, linear }) =>
      most && most.error >= linear ? most : { layer: index + 1, error: linear },
    null,
  );
  return {
    linear: { steps, values: layers.map(({ linear }) => linear) },
    stream: { steps, values: layers.map(({ stream }) => stream) },
    worst,
  };
}
