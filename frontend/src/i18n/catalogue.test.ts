import { describe, expect, it } from "vitest";
import { ApiError } from "../api/client";
import { chooseLanguage, chooseTheme, recall, remember } from "../stores/preferences";
import { en } from "./en";
import { basics } from "./en/basics";
import { importErrors } from "./en/imports";
import { labellingErrors } from "./en/labelling";
import { machineErrors } from "./en/machines";
import { nodeErrors } from "./en/nodes";
import { makeFormat } from "./format";
import { sayError, sayRow } from "./said";
import { zh } from "./zh";
import { errors as later } from "./zh/errors";

// Left to the reader's language on purpose: names, units and examples that are the same in both.
const SAME =
  /^(app|launch\.asYaml|shell\.language\..*|playground\.(topP|tries.*)|.*\.hash|jobs\.col\..*|fields.*|units.*|nodes\.gpu)$/;

type Leaf = [path: string, value: unknown];

function leavesOf(value: unknown, path = ""): Leaf[] {
  if (typeof value !== "object" || value === null) return [[path, value]];
  return Object.entries(value).flatMap(([key, child]) =>
    leavesOf(child, path ? `${path}.${key}` : key),
  );
}

const render = (value: unknown): string =>
  JSON.stringify(
    typeof value === "function"
      ? (value as (...values: unknown[]) => unknown)("1", "1", "1", "1")
      : value,
  );

describe("the catalogues", () => {
  const zhLeaves = new Map(leavesOf({ ...zh, errors: { ...later, ...zh.errors } }));

  it("have Chinese for every English entry, also where a list is open", () => {
    const missing = leavesOf(en).filter(([path]) => !zhLeaves.has(path));
    expect(missing.map(([path]) => path)).toEqual([]);
  });

  it("are written in Chinese, not left in English", () => {
    const left = [...zhLeaves].filter(
      ([path, value]) =>
        !SAME.test(path) &&
        !/[\u4e00-\u9fff]/.test(render(value)) &&
        /[a-z]{3}/i.test(render(value)),
    );
    expect(left.map(([path]) => path)).toEqual([]);
  });

  it("have words that come later in Chinese too, and none twice", () => {
    const left = Object.entries(later).filter(([, say]) => !/[\u4e00-\u9fff]/.test(say({})));
    expect(left.map(([code]) => code)).toEqual([]);
    expect(Object.keys(later).filter((code) => code in zh.errors)).toEqual([]);
  });

  it("say each refusal in one place: of two with one code, one page would show the other's words", () => {
    const parts = [basics.errors, labellingErrors, importErrors, machineErrors, nodeErrors];
    const codes = parts.flatMap((part) => Object.keys(part));
    expect(codes.filter((code, index) => codes.indexOf(code) !== index)).toEqual([]);
  });

  it("leave nothing empty", () => {
    const empty = [...leavesOf(en), ...zhLeaves].filter(([, value]) => value === "");
    expect(empty.map(([path]) => path)).toEqual([]);
  });
});

describe("what the API said", () => {
  const body = { code: "points_exhausted", message: "raw", field: null };
  const error = new ApiError(409, {
    ...body,
    params: { missing_mpoints: 1500, needed_mpoints: 2000, available_mpoints: 500 },
  });

  it("is said with its numbers in both languages", () => {
    expect(sayError(en, error)).toContain("1.5 points are missing");
    expect(sayError(zh, error)).toContain("还差 1.5 算力点");
  });

  it("falls back to the studio's own sentence for a code without words", () => {
    expect(sayError(zh, new ApiError(400, { ...body, code: "brand_new", params: {} }))).toBe("raw");
  });

  it("says bad rows by code in Chinese and as they are in English", () => {
    const row = {
      line: 3,
      field: "messages",
      code: "missing",
      problem: "P",
      mend: "M",
      params: {},
    };
    expect(sayRow(en, row).mend).toBe("M");
    expect(sayRow(zh, row).mend).toContain("messages");
  });
});

describe("numbers, sizes and times", () => {
  const english = makeFormat("en");
  const chinese = makeFormat("zh");

  it("turn milli-points into points without losing any", () => {
    expect(english.points(1234567)).toBe("1,234.57");
    expect(english.exact(1234567)).toBe("1,234.567");
    expect([english.change(-5), english.change(5), english.change(0)]).toEqual([
      "-0.005",
      "+0.005",
      "0.000",
    ]);
  });

  it("show sizes in binary units and durations in two parts", () => {
    expect(english.bytes(2.5 * 2 ** 30)).toBe("2.5 GiB");
    expect(english.bytes(512)).toBe("512 B");
    expect(english.duration(3 * 3600 + 25 * 60)).toBe("3h 25m");
    expect(chinese.duration(65)).toMatch(/^1.*5/);
  });

  it("say when in the reader's language", () => {
    const now = Date.UTC(2026, 0, 1);
    expect(english.relative(new Date(now - 180_000).toISOString(), now)).toBe("3 minutes ago");
    expect(chinese.relative(new Date(now + 86_400_000).toISOString(), now)).toBe("明天");
  });
});

describe("language and theme", () => {
  it("take the first wish, then what the browser asks for", () => {
    expect(chooseLanguage(["", "en"], "zh-CN")).toBe("en");
    expect(chooseLanguage(["", undefined], "zh-CN")).toBe("zh");
    expect(chooseTheme([""], true)).toBe("dark");
  });

  it("are remembered, and a bad memory is no choice", () => {
    const memory = new Map<string, string>();
    const store = {
      getItem: (key: string) => memory.get(key) ?? null,
      setItem: (key: string, value: string) => void memory.set(key, value),
    };
    remember(store, { language: "zh", theme: "dark" });
    expect(recall(store)).toEqual({ language: "zh", theme: "dark" });
    memory.set("athanor.language", "xx");
    expect(recall(store).language).toBe("");
  });
});
