// Words of quantizing: its launch form and its report card; fetched with the pages that show them.

import type { Params } from "../params";
import { n } from "../params";

export const quantize = {
  title: "Quantize a model",
  lead: "Hold its weights in 4 or 8 bits: smaller, and faster to answer. What that costs is measured.",
  what: "What",
  whatText: "The model, and texts like those that it will answer.",
  how: "How",
  howText: "How the weights are rounded; every number can be changed.",
  jobNameHelp: "For your own lists. Left empty, it is named after the model.",
  waiting: "Pick a model, and the advisor says what it takes.",
  commandLocal: "Or quantize on your own machine with the engine alone:",
  layers: (layers: string, tokens: string) => `${layers} layers, ${tokens} tokens`,
  shipped: "The set that comes with the engine",
  shippedWithin: "the set that comes with the engine",
  auto: "fits",
  searched: "searched",
  done: "The quantized model is ready",
  button: "Quantize",
  tab: "Report card",
  method: {
    awq: { title: "AWQ, 4 bits", text: "Spares the channels that count; served everywhere" },
    gptq: { title: "GPTQ, 4 bits", text: "Makes good each rounding by the next weights" },
    smoothquant: { title: "SmoothQuant, 8 bits", text: "Weights and inputs: many at once" },
    int8: { title: "Weights in 8 bits", text: "Hardly any loss, half the size" },
    rtn: { title: "Plain rounding, 4 bits", text: "Quick, and what others are held against" },
  } as Record<string, { title: string; text: string }>,
  parts: { moments: "Second moments", written: "Waiting to be written" } as Record<string, string>,
  card: {
    perplexity: "Perplexity",
    from: (base: string, change: string) => `${base} before: ${change}`,
    agreement: "Same likeliest token",
    agreementText: "of held-out text, as the base says it",
    greedy: "Greedy match",
    greedyOf: (tokens: string, prompts: string) =>
      `of ${tokens} tokens, the mean of ${prompts} answers`,
    size: "Size",
    sizeFrom: (base: string, share: string) => `${base} before: ${share} of it`,
    perplexities: "Perplexity by how it runs",
    base: "Base",
    quantized: "Quantized",
    kv: (precision: string) => `with ${precision} keys and values`,
    recommended: (precision: string) => `Recommended for keys and values: ${precision}.`,
    layers: "Error by layer",
    linear: "Of its linear layers",
    stream: "Of what leaves it",
    layer: "layer",
    layersSummary: (worst: string, layer: string) =>
      `The largest error, ${worst}, is in layer ${layer}.`,
    made: (windows: string, length: string, data: string) =>
      `Calibrated on ${windows} windows of ${length} tokens of ${data}`,
    heldOut: (tokens: string) => `measured on ${tokens} tokens of other rows`,
    group: (size: string) => `groups of ${size}`,
    bytes: (bytes: string) => `${bytes} bytes a weight`,
    cpu: (threads: number) => (threads === 1 ? "CPU, 1 thread" : `CPU, ${threads} threads`),
    speed: "Speed, tokens/s",
    prefill: "Prefill",
    decode: "One answer",
    noSpeed: "Speed was not measured on the machine that made it.",
    none: "The report card comes when the run has ended.",
  },
  errors: {
    model_is_quantized: (p: Params) =>
      `${n(p.model)} is quantized already. Pick the model that it was made of.`,
    group_size_unfit: (p: Params) =>
      p.field === "model"
        ? "The model's layers divide by none of 128, 64 and 32. Pick a method of 8 bits."
        : `The model's layers do not divide by ${n(p.group_size)}. Leave the group size to fit.`,
  } as Record<string, (params: Params) => string>,
};

export type QuantizeWords = typeof quantize;
