import { describe, expect, it } from "vitest";
import { listFolder } from "./folders";

const file = (path: string) => ({ path, size_bytes: 2, sha256: "" });

describe("folders of a repo", () => {
  const files = ["README.md", "data/a.csv", "data/deep/b.csv", "database.txt"].map(file);

  it("come first, with what they hold", () => {
    expect(listFolder(files, "").map(({ name, numFiles }) => [name, numFiles])).toEqual([
      ["data", 2],
      ["README.md", undefined],
      ["database.txt", undefined],
    ]);
  });

  it("hold only what lies below them", () => {
    expect(listFolder(files, "data").map(({ path }) => path)).toEqual(["data/deep", "data/a.csv"]);
    expect(listFolder(files, "nothing")).toEqual([]);
  });
});
