import { describe, expect, it } from "vitest";
import type { LogPage } from "../api/shapes";
import { LogStore, PAGE_LINES, asShown } from "./logStore";

const now = (wake: () => void) => wake();

function page(lines: string[], first: number, limit: number): LogPage {
  const cut = lines.slice(first, first + limit);
  return {
    first_line: first,
    lines: cut,
    total_lines: lines.length,
    log_bytes: 0,
    complete: false,
  };
}

function storeOver(written: string[]) {
  const asked: number[] = [];
  const store = new LogStore(
    written.length,
    async (from, limit) => {
      asked.push(from);
      return page(written, from, limit);
    },
    now,
  );
  return { store, asked };
}

const settle = async () => {
  for (let i = 0; i < 5; i++) await Promise.resolve();
};

describe("a log by line number", () => {
  it("fetches only the pages that are looked at, and each once", async () => {
    const { store, asked } = storeOver(
      Array.from({ length: 3 * PAGE_LINES }, (_, i) => `line ${i}`),
    );
    store.want(PAGE_LINES + 3, PAGE_LINES + 40);
    store.want(PAGE_LINES + 3, PAGE_LINES + 40);
    await settle();
    store.want(PAGE_LINES + 3, PAGE_LINES + 40);
    expect(asked).toEqual([PAGE_LINES]);
    expect(store.line(PAGE_LINES + 3)).toBe(`line ${PAGE_LINES + 3}`);
    expect(store.line(0)).toBeUndefined();
  });

  it("joins the pieces of one line wherever they were cut", () => {
    const { store } = storeOver([]);
    store.append(0, "\nloss ");
    store.append(1, "0.5\nnext");
    store.append(2, " one\n");
    expect([store.line(1), store.line(2)]).toEqual(["loss 0.5", "next one"]);
    expect(store.total).toBe(3);
  });

  it("asks again for the line that was half written when the page opened", async () => {
    const written = ["first", "half"];
    const { store } = storeOver(written);
    store.want(0, 1);
    await settle();
    expect(store.line(1)).toBe("half");
    written[1] = "half and whole";
    written.push("third");
    store.append(1, " and whole\nthird\n");
    store.want(0, 2);
    await settle();
    expect(store.line(1)).toBe("half and whole");
    expect(store.line(2)).toBe("third");
  });

  it("drops an answer that was overtaken by a new piece", async () => {
    let answer: (lines: string[]) => void = () => undefined;
    const store = new LogStore(
      1,
      () => new Promise((resolve) => (answer = (lines) => resolve(page(lines, 0, 500)))),
      now,
    );
    store.want(0, 0);
    const old = answer;
    store.append(0, " end\n");
    store.want(0, 0);
    answer(["start end"]);
    old(["start"]);
    await settle();
    expect(store.line(0)).toBe("start end");
  });

  it("holds a hundred thousand lines from the stream", () => {
    const { store } = storeOver([]);
    store.append(0, "seam\n");
    for (let i = 1; i <= 100_000; i++) store.append(i, `line ${i}\n`);
    expect(store.total).toBe(100_001);
    expect(store.line(77_777)).toBe("line 77777");
  });
});

describe("a line as a terminal shows it", () => {
  it.each([
    ["10%\r50%\r100%", "100%"],
    ["done\r", "done"],
    ["\u001b[31mred\u001b[0m", "red"],
    ["plain", "plain"],
  ])("%j is %j", (line, shown) => expect(asShown(line)).toBe(shown));
});
