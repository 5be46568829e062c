import { describe, expect, it } from "vitest";
import { fileUrl, filesUrl, resolveCardUrl } from "./cardLinks";

const BASE = filesUrl({ kind: "dataset", id: "alice/talk" }, "abc");

describe("a card's addresses", () => {
  it.each([
    ["a.png", "a.png"],
    ["./docs/./a.png", "docs/a.png"],
    ["/docs/a.png", "docs/a.png"],
    ["docs/../a.png?raw=true#x", "a.png#x"],
    ["a b%20c.png", "a%20b%20c.png"],
    ["图.png", "%E5%9B%BE.png"],
    ["java\tscript:alert(1)", "java%09script%3Aalert(1)"],
  ])("lead to the repo's files: %s", (url, path) => {
    expect(resolveCardUrl(url, BASE)).toBe(`/datasets/alice/talk/resolve/abc/${path}`);
  });

  it.each([
    "../a.png",
    "a/../../b",
    "%2e%2e/a",
    "..%2f..%2fapi",
    "a%5c..",
    "\\\\evil",
    "%",
    "",
    "./",
  ])("never lead out of the repo: %s", (url) => expect(resolveCardUrl(url, BASE)).toBe(""));

  it.each([
    "#use",
    "https://a.example/b",
    "//a.example/b",
    "javascript:alert(1)",
    "data:text/html,x",
  ])("of elsewhere are left to the renderer: %s", (url) =>
    expect(resolveCardUrl(url, BASE)).toBe(url),
  );

  it("are escaped part by part", () => {
    const url = fileUrl({ kind: "model", id: "alice/m" }, "refs/x", "a b/c#?.txt");
    expect(url).toBe("/alice/m/resolve/refs%2Fx/a%20b/c%23%3F.txt");
  });
});
