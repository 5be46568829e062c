import { describe, expect, it } from "vitest";
import { addSpans, cut, findAll, placesOf, spanOf, textOf, toCodePoints } from "./spans";

const TEXT = "你好😀 end";

describe("spans", () => {
  it("count code points, as Python does", () => {
    expect(toCodePoints(TEXT, 4)).toBe(3); // behind the emoji, which is two units
    expect(toCodePoints(TEXT, 3)).toBe(3); // inside of it counts it whole
    expect(placesOf(TEXT)).toEqual([0, 1, 2, 4, 5, 6, 7, 8]);
    expect(spanOf(TEXT, 2, 4, "N")).toEqual({ start: 2, end: 3, label: "N" });
    expect(textOf(TEXT, { start: 2, end: 7, label: "N" })).toBe("😀 end");
  });

  it("leave out the blanks around what was selected", () => {
    expect(spanOf(TEXT, 4, 8, "N")).toEqual({ start: 4, end: 7, label: "N" });
    expect(spanOf(TEXT, 4, 5, "N")).toBeNull();
    expect(spanOf(TEXT, 3, 3, "N")).toBeNull();
  });

  it("are found wherever the words stand", () => {
    expect(findAll("李白见李白", "李白", "P").map((span) => [span.start, span.end])).toEqual([
      [0, 2],
      [3, 5],
    ]);
    expect(findAll("a", "", "P")).toEqual([]);
  });

  it("are kept once, in the order of the text, the longer first", () => {
    const one = { start: 0, end: 2, label: "A" };
    const long = { start: 0, end: 5, label: "B" };
    expect(addSpans([one], [one, long])).toEqual([long, one]);
  });

  it("cut a text where they begin and end, and the pieces make it whole again", () => {
    const pieces = cut(TEXT, [
      { start: 0, end: 3, label: "A" },
      { start: 2, end: 7, label: "B" },
    ]);
    expect(pieces.map((piece) => [piece.text, piece.labels, piece.begins])).toEqual([
      ["你好", ["A"], ["A"]],
      ["😀", ["A", "B"], ["B"]],
      [" end", ["B"], []],
    ]);
    expect(pieces.map((piece) => piece.text).join("")).toBe(TEXT);
    expect(cut("", [])).toEqual([]);
  });
});
