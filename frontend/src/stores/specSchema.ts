// Reads a spec's JSON Schema into the fields a form draws, and moves values in and out by path.

import type { SpecValue } from "../api/shapes";

export type FieldKind =
  "integer" | "number" | "boolean" | "choice" | "text" | "list" | "pairs" | "object";

export interface SpecField {
  path: readonly string[];
  /** The path as the API names it, such as `lora.rank`. */
  name: string;
  kind: FieldKind;
  title: string;
  help: string;
  unit: string;
  part: string;
  widget: string;
  isAdvanced: boolean;
  isRequired: boolean;
  isNullable: boolean;
  default: unknown;
  min: number | undefined;
  max: number | undefined;
  /** True where `min` or `max` itself is not allowed. */
  isMinOpen: boolean;
  isMaxOpen: boolean;
  maxLength: number | undefined;
  maxItems: number | undefined;
  pattern: string | undefined;
  options: readonly string[];
  children: readonly SpecField[];
  /** Another field, and the values of it under which this one means something. */
  only: Readonly<Record<string, readonly unknown[]>>;
}

type Schema = Record<string, unknown>;

const asSchema = (value: unknown): Schema =>
  typeof value === "object" && value ? (value as Schema) : {};
const asNumber = (value: unknown) => (typeof value === "number" ? value : undefined);
const asText = (value: unknown) => (typeof value === "string" ? value : "");

function follow(node: Schema, root: Schema): Schema {
  const reference = asText(node.$ref);
  if (!reference) return node;
  const target = reference
    .replace(/^#\//, "")
    .split("/")
    .reduce<unknown>((at, key) => asSchema(at)[key], root);
  return { ...asSchema(target), ...node, $ref: undefined };
}

function withoutNull(node: Schema): { node: Schema; isNullable: boolean } {
  const choices = Array.isArray(node.anyOf) ? node.anyOf.map(asSchema) : [];
  const real = choices.filter((choice) => choice.type !== "null");
  if (real.length !== 1) return { node, isNullable: false };
  return {
    node: { ...real[0], ...node, anyOf: undefined },
    isNullable: real.length < choices.length,
  };
}

function kindOf(node: Schema): FieldKind {
  if (Array.isArray(node.enum)) return "choice";
  if (node.type === "integer" || node.type === "number" || node.type === "boolean")
    return node.type;
  if (node.type === "array") return "list";
  if (node.type !== "object") return "text";
  // Without fields of its own it holds whatever names people write.
  return node.properties ? "object" : "pairs";
}

function readField(
  key: string,
  raw: Schema,
  root: Schema,
  parent: readonly string[],
  need: boolean,
) {
  const { node: open, isNullable } = withoutNull(raw);
  const node = follow(open, root);
  const kind = kindOf(node);
  const path = [...parent, key];
  const low = asNumber(node.exclusiveMinimum);
  const high = asNumber(node.exclusiveMaximum);
  const field: SpecField = {
    path,
    name: path.join("."),
    kind,
    title: asText(node.title) || key,
    help: asText(node.description),
    unit: asText(node.unit),
    part: asText(node.part) || "how",
    widget: asText(node.widget),
    isAdvanced: node.advanced === true,
    isRequired: need,
    isNullable,
    default: node.default,
    min: low ?? asNumber(node.minimum),
    max: high ?? asNumber(node.maximum),
    isMinOpen: low !== undefined,
    isMaxOpen: high !== undefined,
    maxLength: asNumber(node.maxLength),
    maxItems: asNumber(node.maxItems),
    pattern: asText(node.pattern) || undefined,
    options: kind === "choice" ? (node.enum as unknown[]).map(String) : [],
    children: kind === "object" ? readFields(node, root, path) : [],
    only: asSchema(node.only) as Record<string, readonly unknown[]>,
  };
  return field;
}

function readFields(node: Schema, root: Schema, parent: readonly string[]): SpecField[] {
  const required = Array.isArray(node.required) ? node.required : [];
  return Object.entries(asSchema(node.properties))
    .filter(([, child]) => asSchema(child).const === undefined)
    .map(([key, child]) => readField(key, asSchema(child), root, parent, required.includes(key)));
}

/** The form's fields, in the schema's order; constants such as `kind` are not asked for. */
export function readSchema(schema: Schema): SpecField[] {
  return readFields(schema, schema, []);
}

/** Say whether a field means something in a spec; one that does not is not asked for. */
export function isShown(field: SpecField, spec: SpecValue): boolean {
  return Object.entries(field.only).every(([name, values]) =>
    values.includes(valueAt(spec, name.split("."))),
  );
}

/** The fields that hold a value themselves and mean something in a spec, in order. */
export function leavesOf(fields: readonly SpecField[], spec: SpecValue): SpecField[] {
  return fields
    .filter((field) => isShown(field, spec))
    .flatMap((field) => (field.kind === "object" ? leavesOf(field.children, spec) : [field]));
}

/** Every field and every field inside one, in order. */
export function flatten(fields: readonly SpecField[]): SpecField[] {
  return fields.flatMap((field) => [field, ...flatten(field.children)]);
}

/** The values a spec has when nobody changed anything; fields without a default are left out. */
export function defaultsOf(schema: Schema): SpecValue {
  const constants = Object.entries(asSchema(schema.properties))
    .map(([key, child]) => [key, asSchema(child).const] as const)
    .filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(constants), ...defaultsOfFields(readSchema(schema)) };
}

/** What an object field holds once it is turned on. */
export function defaultsOfField(field: SpecField): SpecValue {
  return defaultsOfFields(field.children);
}

function defaultsOfFields(fields: readonly SpecField[]): SpecValue {
  const pairs = fields.map((field) => {
    const own = field.kind === "object" ? defaultsOfFields(field.children) : undefined;
    const value =
      own && field.default !== null ? merge(own, asSchema(field.default)) : field.default;
    return [field.path.at(-1) ?? "", value] as const;
  });
  return Object.fromEntries(pairs.filter(([, value]) => value !== undefined));
}

const isPlain = (value: unknown): value is SpecValue =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** Lay `over` on `base`, field by field; lists are replaced whole. */
export function merge(base: SpecValue, over: SpecValue): SpecValue {
  const out: SpecValue = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const under = out[key];
    out[key] = isPlain(value) && isPlain(under) ? merge(under, value) : value;
  }
  return out;
}

export function valueAt(spec: SpecValue, path: readonly string[]): unknown {
  return path.reduce<unknown>((at, key) => (isPlain(at) ? at[key] : undefined), spec);
}

/** A copy with one value changed. */
export function withValue(spec: SpecValue, path: readonly string[], value: unknown): SpecValue {
  const [key, ...rest] = path;
  if (key === undefined) return spec;
  const inner = spec[key];
  return {
    ...spec,
    [key]: rest.length ? withValue(isPlain(inner) ? inner : {}, rest, value) : value,
  };
}

/** Say whether `spec` holds every value of the preset laid on the defaults. */
export function holdsPreset(spec: SpecValue, defaults: SpecValue, preset: SpecValue): boolean {
  const wanted = merge(defaults, preset);
  return Object.keys(wanted).every((key) => {
    const under = spec[key];
    const over = wanted[key];
    if (isPlain(over) && isPlain(under)) return holdsPreset(under, over, {});
    return JSON.stringify(under) === JSON.stringify(over);
  });
}
