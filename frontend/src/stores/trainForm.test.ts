import { describe, expect, it } from "vitest";
import type { SpecInfo, SpecValue } from "../api/shapes";
import {
  choose,
  defaultsFor,
  hasRepos,
  methodsOf,
  numProcesses,
  ownFields,
  scratchOf,
  stageFor,
  usualOf,
} from "./trainForm";

const choice = (values: string[], more = {}) => ({ enum: values, default: values[0], ...more });
const usual = (rate: number) => ({
  defaults: { learning_rate: rate },
  presets: { balanced: {}, thorough: { learning_rate: rate / 2 } },
});
const INFO = {
  schema: {
    $defs: {
      Dpo: { type: "object", properties: { beta: { type: "number", default: 0.1 } } },
      Lora: { type: "object", properties: { rank: { type: "integer", default: 16 } } },
    },
    properties: {
      kind: { const: "train", default: "train", type: "string" },
      stage: choice(["sft", "pretrain", "dpo", "reward"]),
      method: choice(["lora", "full"]),
      model: { type: "string" },
      dataset: { type: "string" },
      learning_rate: { type: "number", default: 0.002 },
      lora: { $ref: "#/$defs/Lora", default: {}, only: { method: ["lora"] } },
      dpo: { $ref: "#/$defs/Dpo", default: {}, only: { stage: ["dpo"] } },
      sample_prompts: {
        type: "array",
        items: { type: "string" },
        default: [],
        only: { stage: ["sft", "pretrain", "dpo"] },
      },
    },
  },
  usual: {
    sft: { lora: usual(0.002), full: usual(0.0001) },
    pretrain: { lora: usual(0.001), full: usual(0.0002) },
    dpo: { lora: usual(0.0005), full: usual(0.00002) },
    reward: { lora: usual(0.0005), full: usual(0.00005) },
  },
} as unknown as SpecInfo;

describe("the form of a training", () => {
  const start = defaultsFor(INFO, {});

  it("takes the learning rate that goes with stage and method", () => {
    expect(start.learning_rate).toBe(0.002);
    const full = choose(INFO, start, { method: "full" });
    expect(full.learning_rate).toBe(0.0001);
    expect(choose(INFO, full, { stage: "pretrain" }).learning_rate).toBe(0.0002);
  });

  it("leaves a learning rate that somebody chose", () => {
    const own = { ...start, learning_rate: 0.007 };
    expect(choose(INFO, own, { stage: "dpo" }).learning_rate).toBe(0.007);
  });

  it("sends nothing of a field that is not shown any more", () => {
    const dpo = choose(INFO, start, { stage: "dpo" });
    const tuned = { ...dpo, dpo: { beta: 0.5 }, sample_prompts: ["Hi"], lora: { rank: 4 } };
    const reward = choose(INFO, tuned, { stage: "reward" });
    expect(reward.dpo).toEqual({ beta: 0.1 });
    expect(reward.sample_prompts).toEqual([]);
    expect(reward.lora).toEqual({ rank: 4 });
    expect(choose(INFO, tuned, { method: "full" }).lora).toEqual({ rank: 16 });
  });

  it("has presets of its stage and method", () => {
    const full = choose(INFO, start, { stage: "pretrain", method: "full" });
    expect(usualOf(INFO, full).presets.thorough).toEqual({ learning_rate: 0.0001 });
    expect(usualOf(INFO, { stage: "nonsense" }).presets).toEqual({});
  });

  it("keeps of a form what no preset sets", () => {
    const spec = { ...start, dataset: "a/b", mixture: [{ repo: "a/c" }] };
    expect(ownFields(spec)).toMatchObject({ dataset: "a/b", mixture: [{ repo: "a/c" }] });
    expect(ownFields(spec)).not.toHaveProperty("learning_rate");
  });

  it("counts the processes that the sizes make", () => {
    expect(numProcesses({})).toBe(1);
    expect(numProcesses({ parallel: { replicas: 2, shards: 2, tensor: 1 } })).toBe(4);
  });

  it("finds the stage that rows are meant for", () => {
    expect(stageFor(["preference"])).toBe("dpo");
    expect(stageFor(["text"])).toBe("pretrain");
    expect(stageFor(["messages", "text"])).toBe("sft");
    expect(stageFor([])).toBe("sft");
  });
});

describe("a mixture", () => {
  it("is told once each of its rows names a dataset", () => {
    expect(hasRepos(undefined)).toBe(true);
    expect(hasRepos([])).toBe(true);
    expect(hasRepos([{ repo: "a/b" }])).toBe(true);
    expect(hasRepos([{ repo: "a/b" }, { weight: 1 }])).toBe(false);
  });
});

describe("a model from nothing", () => {
  const scratch = {
    anyOf: [
      { type: "object", properties: { hidden_size: { type: "integer", default: 512 } } },
      { type: "null" },
    ],
    default: null,
    only: { stage: ["pretrain"] },
  };
  const properties = {
    ...(INFO.schema as { properties: object }).properties,
    from_scratch: scratch,
  };
  const info = { ...INFO, schema: { ...INFO.schema, properties } } as unknown as SpecInfo;

  it("has its usual shape, no base and all weights, and goes with its stage", () => {
    const base: SpecValue = { ...defaultsFor(info, { stage: "pretrain" }), model: "a/b" };
    expect(base.from_scratch).toBeNull();
    const fresh = choose(info, base, scratchOf(info));
    expect(fresh).toMatchObject({ from_scratch: { hidden_size: 512 }, method: "full" });
    expect(JSON.parse(JSON.stringify(fresh))).not.toHaveProperty("model");
    expect(choose(info, fresh, { stage: "sft" }).from_scratch).toBeNull();
  });

  it("trains all its weights: there is no base for an adapter", () => {
    const base: SpecValue = { ...defaultsFor(info, { stage: "pretrain" }), model: "a/b" };
    const fresh = choose(info, base, scratchOf(info));
    expect(choose(info, fresh, { method: "lora" })).toEqual(fresh);
    expect(methodsOf(["lora", "qlora", "full"], fresh)).toEqual(["full"]);
    expect(methodsOf(["lora", "qlora", "full"], base)).toHaveLength(3);
  });
});
