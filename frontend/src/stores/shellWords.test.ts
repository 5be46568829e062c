import { describe, expect, it } from "vitest";
import { joinWords, splitWords } from "./shellWords";

describe("a command line", () => {
  it.each([
    ["python train.py --lr 1e-3", ["python", "train.py", "--lr", "1e-3"]],
    ["  sh -c 'echo \"a b\"; exit 3' ", ["sh", "-c", 'echo "a b"; exit 3']],
    ['echo "it\'s" a\\ b "" \'\'', ["echo", "it's", "a b", "", ""]],
    ['echo "a\\"b" "\\n"', ["echo", 'a"b', "\\n"]],
    ["", []],
  ])("is read as a shell reads it: %s", (line, words) => {
    expect(splitWords(line)).toEqual(words);
  });

  it.each(["echo 'open", 'echo "open', "echo \\"])("is not read while it is open: %s", (line) => {
    expect(splitWords(line)).toBeNull();
  });

  it.each([["a b", "it's", "", "$HOME", "\\", "数据", "a\nb"]])(
    "comes back from its words",
    (...words) => {
      expect(splitWords(joinWords(words))).toEqual(words);
    },
  );
});
