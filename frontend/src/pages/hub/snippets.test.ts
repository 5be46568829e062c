import { describe, expect, it } from "vitest";
import { snippetsOf } from "./snippets";

const ORIGIN = "http://studio.example:8000";
const model = { id: "alice/m", kind: "model", role: "base", base_model: null } as const;
const weights = {
  format: "safetensors",
  num_files: 1,
  num_params: 1,
  dtypes: {},
  memory_bytes: {},
};
const keys = (snippets: { key: string }[]) => snippets.map(({ key }) => key);

describe("how to use a repo", () => {
  it("is told by the library that loads it", () => {
    const of = (repo: Parameters<typeof snippetsOf>[0]) => keys(snippetsOf(repo, ORIGIN, ""));
    expect(of({ ...model, weights })).toEqual(["transformers", "huggingface_hub", "cli"]);
    expect(of({ ...model, weights: { ...weights, format: "gguf" } })).toEqual([
      "huggingface_hub",
      "cli",
    ]);
    expect(of({ ...model, role: "adapter", weights })[0]).toBe("peft");
    expect(of({ ...model, kind: "dataset", role: "dataset", weights: null })[0]).toBe("datasets");
  });

  it("names this studio in every snippet, and before the import", () => {
    for (const { code } of snippetsOf({ ...model, weights }, ORIGIN, "")) {
      expect(code).toContain(ORIGIN);
      expect(code).not.toContain("revision");
      if (code.includes("import os")) {
        expect(code.indexOf("HF_ENDPOINT")).toBeLessThan(code.indexOf("from "));
      }
    }
  });

  it("names the revision that is looked at", () => {
    const dataset = { ...model, kind: "dataset", role: "dataset", weights: null } as const;
    for (const { code } of snippetsOf(dataset, ORIGIN, "v1")) expect(code).toContain("v1");
    expect(snippetsOf(dataset, ORIGIN, "v1").at(-1)?.code).toBe(
      `export HF_ENDPOINT=${ORIGIN}\nhf download alice/m --repo-type dataset --revision v1`,
    );
  });
});
