// The form of how a model is served: which fields stand in front, and what of it is sent.

import type { ServingSettings, SpecValue } from "../api/shapes";
import { defaultsOf, isShown, merge, readSchema, type SpecField } from "./specSchema";

/** What an operator sets most, and an owner at all; the rest is folded away. */
const IN_FRONT: ReadonlySet<string> = new Set([
  "backend",
  "url",
  "tensor_parallel",
  "max_context",
  "kv_precision",
  "least_agreement",
  "on_low_agreement",
]);

export function readServeFields(schema: ServingSettings["schema"]): SpecField[] {
  return readSchema(schema).map((field) => ({
    ...field,
    isAdvanced: !IN_FRONT.has(field.name),
    // Whose bounds, in bytes, would stand beside a number of GiB.
    ...(field.unit === "bytes" && { widget: "gib", min: undefined, max: undefined }),
  }));
}

export function startServeForm({ schema, spec }: ServingSettings): SpecValue {
  return merge(defaultsOf(schema), spec);
}

/** The fields that differ from their defaults and mean something with the others; nothing unseen is sent. */
export function changedOf(schema: ServingSettings["schema"], value: SpecValue): SpecValue {
  const defaults = defaultsOf(schema);
  const names = readSchema(schema)
    .filter((field) => isShown(field, { ...defaults, ...value }))
    .map(({ name }) => name);
  const changed = names.filter(
    (name) => value[name] !== undefined && value[name] !== (defaults[name] ?? null),
  );
  return Object.fromEntries(changed.map((name) => [name, value[name]]));
}
