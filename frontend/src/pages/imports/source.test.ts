import { describe, expect, it } from "vitest";
import { isGguf, nameFromSource } from "./source";

describe("a source", () => {
  it.each([
    ["hf://Qwen/Qwen3-0.6B@main", "Qwen3-0.6B"],
    ["hf://Qwen/Qwen3-0.6B@refs/pr/1", "Qwen3-0.6B"],
    ["hf+https://hub.example/prefix/owner/name", "name"],
    ["modelscope://a/b", "b"],
    ["drive:///models/My model (2)/", "My-model-2"],
    ["drive:///models/tiny.Q4_K_M.gguf", "tiny.Q4_K_M"],
    ["https://host.example/a/m.GGUF?download=true", "m"],
    ["hf://onlyowner", ""],
    ["drive:///", ""],
    ["drive:///.hidden", "hidden"],
    ["nothing", ""],
    ["", ""],
  ])("%s is called %s", (source, name) => {
    expect(nameFromSource(source)).toBe(name);
  });

  it("is a GGUF file by its ending, and a hub's repo never is", () => {
    expect(isGguf("https://h/m.gguf")).toBe(true);
    expect(isGguf("drive:///m.GGUF")).toBe(true);
    expect(isGguf("hf://owner/m.gguf")).toBe(false);
  });
});
