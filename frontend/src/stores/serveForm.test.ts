import { describe, expect, it } from "vitest";
import { changedOf, readServeFields, startServeForm } from "./serveForm";

const SCHEMA = {
  type: "object",
  properties: {
    backend: { enum: ["native", "lmdeploy", "remote"], default: "native", advanced: true },
    url: {
      anyOf: [{ type: "string" }, { type: "null" }],
      default: null,
      only: { backend: ["remote"] },
    },
    kv_memory_bytes: {
      anyOf: [{ type: "integer" }, { type: "null" }],
      default: null,
      unit: "bytes",
    },
    max_context: { type: "integer", default: 4096 },
  },
};

describe("the form of how a model is served", () => {
  it("sends what differs from the defaults and no more", () => {
    const start = startServeForm({ schema: SCHEMA, spec: { max_context: 8192 } } as never);
    expect(start).toMatchObject({ backend: "native", url: null, max_context: 8192 });
    expect(changedOf(SCHEMA, start)).toEqual({ max_context: 8192 });
    expect(changedOf(SCHEMA, { ...start, max_context: 4096 })).toEqual({});
  });

  it("sends nothing that is not shown, such as the address of a server that is not asked", () => {
    const url = "http://10.0.0.5:8000/v1";
    expect(changedOf(SCHEMA, { backend: "remote", url })).toEqual({ backend: "remote", url });
    expect(changedOf(SCHEMA, { backend: "native", url })).toEqual({});
  });

  it("asks for bytes in GiB and folds away what is set seldom", () => {
    const byName = new Map(readServeFields(SCHEMA).map((field) => [field.name, field]));
    expect(byName.get("kv_memory_bytes")).toMatchObject({ widget: "gib", isAdvanced: true });
    expect(byName.get("backend")?.isAdvanced).toBe(false);
  });
});
