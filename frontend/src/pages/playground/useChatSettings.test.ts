import { describe, expect, it } from "vitest";
import { changesOf } from "./useChatSettings";

describe("a change of some settings", () => {
  const was = {
    models: [],
    system: "",
    temperature: 0.7,
    top_p: 0.95,
    max_tokens: 512,
    seed: null,
  };

  it("is what was changed alone: models that come later are not overwritten by none", () => {
    const changed = changesOf(was, { ...was, temperature: 0 });
    expect(changed).toEqual({ temperature: 0 });
    expect({ ...was, models: ["a/base", "a/tuned"], ...changed }.models).toHaveLength(2);
  });

  it("can be that no model is left", () => {
    const two = { ...was, models: ["a/base", "a/tuned"] };
    expect(changesOf(two, { ...two, models: [] })).toEqual({ models: [] });
  });
});
