import { describe, expect, it } from "vitest";
import type { Node } from "../../api/shapes";
import { sayUnlimited } from "./unlimited";

const engine = (unlimited: string[], is_fresh = true): Node["engine"] => ({
  version: "26.1",
  problem: "",
  problem_told: null,
  relay: null,
  reported_at: "2026-01-01T00:00:00Z",
  unlimited,
  is_fresh,
});

describe("what a node cannot limit", () => {
  it("is said with its mend, in both languages", () => {
    for (const language of ["en", "zh"] as const) {
      const [layer, scratch, ...more] = sayUnlimited(engine(["layer", "scratch"]), language);
      expect(layer).toContain("prjquota");
      expect(scratch).toContain("e2fsprogs");
      expect(more).toEqual([]);
    }
    expect(sayUnlimited(engine(["layer"]), "zh")).not.toEqual(
      sayUnlimited(engine(["layer"]), "en"),
    );
  });

  it("is nothing where all is limited, of a silent node, or of one without an engine", () => {
    expect(sayUnlimited(engine([]), "en")).toEqual([]);
    expect(sayUnlimited(engine(["layer"], false), "en")).toEqual([]);
    expect(sayUnlimited(null, "en")).toEqual([]);
  });

  it("is passed over where a newer node says what this page does not know", () => {
    expect(sayUnlimited(engine(["moon"]), "en")).toEqual([]);
  });
});
