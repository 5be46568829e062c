import { describe, expect, it } from "vitest";
import api from "../../openapi.json";
import type { Told } from "../api/shapes";
import { sayFlavor, sayTold } from "./told";

const codes = api.components.schemas.ToldCodeEnum.enum as Told["code"][];
const names = new Proxy({}, { get: (_, name) => `<${String(name)}>` }) as Record<string, string>;

describe("what the studio says by itself", () => {
  it("has Chinese words for every code that the API may say", () => {
    expect(codes.length).toBeGreaterThan(70);
    const left = codes.filter((code) => {
      const said = sayTold("zh", "As it came.", { code, params: { ...names } });
      return !/[\u4e00-\u9fff]/.test(said);
    });
    expect(left).toEqual([]);
  });

  it("is said with what it names, and a sentence within it is said too", () => {
    const full: Told = { code: "save_disk_full", params: {} };
    const told: Told = {
      code: "copy_failed",
      params: { problem: { message: "The disk of its node is full.", told: full } },
    };
    expect(sayTold("zh", "raw", told)).toBe(
      "未能制作副本：节点的磁盘已满，没有保存任何内容，请联系运营人员腾出空间。",
    );
    const silent: Told = { code: "run_node_silent", params: { node: "n1", minutes: "31" } };
    expect(sayTold("zh", "raw", silent)).toContain("节点 n1 已 31 分钟");
  });

  it("has the shipped flavors' titles, alone and in a sentence, and no others", () => {
    expect(sayFlavor("zh", "10 % of a GPU, 1 CPU core, 8 GiB")).toBe(
      "GPU 的 10 %，1 核 CPU，8 GiB",
    );
    expect(sayFlavor("zh", "1 GPU, 4 CPU cores, 16 GiB")).toBe("1 块 GPU，4 核 CPU，16 GiB");
    expect(sayFlavor("en", "2 CPU cores, 8 GiB")).toBe("2 CPU cores, 8 GiB");
    expect(sayFlavor("zh", "Big one, 2 CPU cores, 8 GiB")).toBe("Big one, 2 CPU cores, 8 GiB");
    const told: Told = { code: "run_none_holds", params: { flavor: "2 CPU cores, 8 GiB" } };
    expect(sayTold("zh", "raw", told)).toContain("容纳不了 2 核 CPU，8 GiB");
  });

  it("stays as it came in English, without a code, and for a code of a newer studio", () => {
    const told: Told = { code: "run_all_busy", params: {} };
    expect(sayTold("en", "raw", told)).toBe("raw");
    expect(sayTold("zh", "raw", null)).toBe("raw");
    expect(sayTold("zh", "raw", { code: "moon" as Told["code"], params: {} })).toBe("raw");
  });
});
