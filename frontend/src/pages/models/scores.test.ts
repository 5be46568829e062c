import { describe, expect, it } from "vitest";
import { readScores } from "./scores";

describe("scores of a card", () => {
  it("are read row by row", () => {
    const results = [
      {
        task: { type: "qa" },
        dataset: { name: "CMMLU" },
        metrics: [{ type: "accuracy", value: 61.2 }],
      },
    ];
    expect(readScores({ "model-index": [{ results }] })).toEqual([
      { key: "0", task: "qa", dataset: "CMMLU", metric: "accuracy", value: "61.2" },
    ]);
  });

  it.each([{}, { "model-index": "x" }, { "model-index": [null, { results: [{ metrics: 3 }] }] }])(
    "pass over what is none: %j",
    (metadata) => {
      expect(readScores(metadata)).toEqual([]);
    },
  );
});
