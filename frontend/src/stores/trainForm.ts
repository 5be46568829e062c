// What a stage and a method change in a launch form: their defaults, their presets, and which fields they have.

import type { SpecInfo, SpecValue } from "../api/shapes";
import {
  defaultsOf,
  defaultsOfField,
  flatten,
  isShown,
  merge,
  readSchema,
  withValue,
} from "./specSchema";

export interface Usual {
  defaults: SpecValue;
  presets: Record<string, SpecValue>;
}

const NONE: Usual = { defaults: {}, presets: {} };

/** What goes with the stage and the method of a spec. */
export function usualOf(info: SpecInfo, spec: SpecValue): Usual {
  return (info.usual[String(spec.stage)]?.[String(spec.method)] as Usual | undefined) ?? NONE;
}

/** The defaults of a form whose stage and method are those of a spec. */
export function defaultsFor(info: SpecInfo, spec: SpecValue): SpecValue {
  const plain = defaultsOf(info.schema);
  const kept = Object.fromEntries(
    ["stage", "method"]
      .filter((name) => spec[name] !== undefined)
      .map((name) => [name, spec[name]]),
  );
  const chosen = merge(plain, kept);
  return merge(chosen, usualOf(info, chosen).defaults);
}

/**
 * A copy with another stage or method: what still had the old one's default gets the new one's, and what means nothing
 * any more goes back to its default, so that nothing unseen is sent.
 */
export function choose(info: SpecInfo, spec: SpecValue, change: SpecValue): SpecValue {
  const before = usualOf(info, spec).defaults;
  let next = merge(spec, change);
  if (next.from_scratch && next.method !== "full") next = { ...next, method: "full" };
  const after = usualOf(info, next).defaults;
  for (const [name, value] of Object.entries(after)) {
    if (spec[name] === undefined || spec[name] === before[name]) next = { ...next, [name]: value };
  }
  const defaults = defaultsFor(info, next);
  for (const field of flatten(readSchema(info.schema))) {
    const [name] = field.path;
    if (name !== undefined && field.path.length === 1 && !isShown(field, next)) {
      next = withValue(next, field.path, defaults[name]);
    }
  }
  return next;
}

/** The fields that a preset leaves as they are: what is learnt, from what, and where. */
export const NOT_PRESET = [
  "stage",
  "method",
  "model",
  "from_scratch",
  "dataset",
  "mixture",
  "max_bad_fraction",
  "output",
  "sample_prompts",
  "parallel",
  "dpo",
  "reward",
] as const;

export function ownFields(spec: SpecValue): SpecValue {
  const told = NOT_PRESET.filter((name) => spec[name] !== undefined);
  return Object.fromEntries(told.map((name) => [name, spec[name]]));
}

/** How many processes the sizes of a spec make. */
export function numProcesses(spec: SpecValue): number {
  const sizes = Object.values((spec.parallel ?? {}) as Record<string, unknown>);
  return sizes.reduce<number>((product, size) => product * (Number(size) || 1), 1);
}

/** The stage that rows of some formats are meant for. */
export function stageFor(formats: readonly string[]): string {
  if (formats.includes("preference")) return "dpo";
  return formats.length > 0 && formats.every((name) => name === "text") ? "pretrain" : "sft";
}

/** The change that makes a form pretrain a new model: its usual shape, no base, all weights. */
export function scratchOf(info: SpecInfo): SpecValue {
  const field = readSchema(info.schema).find(({ name }) => name === "from_scratch");
  return { from_scratch: field ? defaultsOfField(field) : null, model: undefined, method: "full" };
}

/** The methods that a spec may take: a new model has no base that an adapter would change. */
export const methodsOf = (options: readonly string[], spec: SpecValue): readonly string[] =>
  spec.from_scratch ? options.filter((option) => option === "full") : options;

/** Say whether each further dataset of a mixture is chosen by now. */
export const hasRepos = (mixture: unknown): boolean =>
  !Array.isArray(mixture) || mixture.every((source: { repo?: string }) => Boolean(source.repo));
