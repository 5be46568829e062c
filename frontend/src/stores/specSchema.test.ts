import { describe, expect, it } from "vitest";
import { LaunchKey } from "./launchKey";
import {
  defaultsOf,
  flatten,
  holdsPreset,
  merge,
  readSchema,
  valueAt,
  withValue,
} from "./specSchema";
import { fromYaml, toYaml } from "./specYaml";

const SCHEMA = {
  $defs: {
    Lora: {
      type: "object",
      properties: {
        rank: { type: "integer", default: 16, minimum: 1, maximum: 256, title: "LoRA rank" },
        layers: { type: "array", items: { type: "string" }, default: ["q_proj"], advanced: true },
      },
    },
  },
  properties: {
    kind: { const: "train", default: "train", type: "string" },
    model: { type: "string", title: "Base model", widget: "model", part: "what" },
    max_steps: { anyOf: [{ type: "integer", minimum: 1 }, { type: "null" }], default: null },
    rate: { type: "number", exclusiveMinimum: 0, maximum: 1, default: 0.001, unit: "per step" },
    lora: { $ref: "#/$defs/Lora", default: { rank: 8 }, title: "LoRA" },
    precision: { enum: ["bf16", "fp32"], type: "string", default: "bf16" },
  },
  required: ["model"],
};

describe("a spec's schema as a form", () => {
  const fields = readSchema(SCHEMA);

  it("asks for every field but the constants, nested ones too", () => {
    expect(flatten(fields).map((field) => [field.name, field.kind])).toEqual([
      ["model", "text"],
      ["max_steps", "integer"],
      ["rate", "number"],
      ["lora", "object"],
      ["lora.rank", "integer"],
      ["lora.layers", "list"],
      ["precision", "choice"],
    ]);
  });

  it("keeps bounds, units, what is optional and what is folded away", () => {
    const byName = new Map(flatten(fields).map((field) => [field.name, field]));
    expect(byName.get("rate")).toMatchObject({ min: 0, isMinOpen: true, max: 1, unit: "per step" });
    expect(byName.get("max_steps")).toMatchObject({ isNullable: true, min: 1, isRequired: false });
    expect(byName.get("model")).toMatchObject({ isRequired: true, widget: "model", part: "what" });
    expect(byName.get("lora.layers")?.isAdvanced).toBe(true);
  });

  it("starts from the defaults, an outer default winning over an inner one", () => {
    expect(defaultsOf(SCHEMA)).toEqual({
      kind: "train",
      max_steps: null,
      rate: 0.001,
      lora: { rank: 8, layers: ["q_proj"] },
      precision: "bf16",
    });
  });

  it("changes one value and leaves the others as they are", () => {
    const before = defaultsOf(SCHEMA);
    const after = withValue(before, ["lora", "rank"], 64);
    expect(valueAt(after, ["lora", "rank"])).toBe(64);
    expect(valueAt(after, ["lora", "layers"])).toEqual(["q_proj"]);
    expect(valueAt(before, ["lora", "rank"])).toBe(8);
  });

  it("knows which preset a spec holds", () => {
    const defaults = defaultsOf(SCHEMA);
    const quick = { lora: { rank: 4 } };
    const spec = { ...merge(defaults, quick), model: "athanor/base" };
    expect(holdsPreset(spec, defaults, quick)).toBe(true);
    expect(holdsPreset(spec, defaults, {})).toBe(false);
  });
});

describe("a spec as YAML", () => {
  it("comes back as it was", () => {
    const spec = { ...defaultsOf(SCHEMA), sample_prompts: ["你是谁？", "a: b # c"] };
    expect(fromYaml(toYaml(spec))).toEqual({ spec, problem: null });
  });

  it("says in which line it cannot be read", () => {
    expect(fromYaml("model: a\nrate: [1\n").problem?.line).toBeGreaterThan(1);
    expect(fromYaml("- a list").problem).toEqual({ line: 1, message: "not_a_mapping" });
    expect(fromYaml("a: 1\na: 2").problem?.line).toBe(2);
  });
});

describe("the key of a launch", () => {
  it("stays for the same form and changes with it", () => {
    let num = 0;
    const key = new LaunchKey(() => `key-${++num}`);
    expect(key.for({ a: 1 })).toBe("key-1");
    expect(key.for({ a: 1 })).toBe("key-1");
    expect(key.for({ a: 2 })).toBe("key-2");
  });
});
