// Which parts of an address narrow a list of repos, and how they are asked of the studio.

import type { Query } from "../../api/client";

export const FACETS = [
  "task",
  "language",
  "modality",
  "format",
  "license",
  "library",
  "tag",
  "organization",
] as const;
export type Facet = (typeof FACETS)[number];

export const RANGES = {
  size: [2 ** 20, 100 * 2 ** 20, 2 ** 30, 10 * 2 ** 30],
  rows: [1000, 100_000, 10_000_000],
  params: [100_000_000, 1_000_000_000, 10_000_000_000],
} as const;
export type Range = keyof typeof RANGES;

const PLAIN = [
  "search",
  "role",
  "sort",
  ...FACETS,
  "updated_since",
  "base_model",
  "gated",
  "liked",
];

/** Every filter there is; sort and page are none. */
export const FILTERS = [...PLAIN.filter((name) => name !== "sort"), "mine", ...Object.keys(RANGES)];

export const listOf = (value: string): string[] => value.split(",").filter(Boolean);

/** A range lives in the address as `least-most`, either of them left out. */
export function splitRange(value: string): [least: string, most: string] {
  const [least = "", most = ""] = value.split("-");
  return [least, most];
}

export function toQuery(read: (name: string) => string, username?: string): Query {
  const query: Query = Object.fromEntries(PLAIN.map((name) => [name, read(name)]));
  for (const name of Object.keys(RANGES)) {
    [query[`min_${name}`], query[`max_${name}`]] = splitRange(read(name));
  }
  if (read("mine")) query.owner = username;
  return query;
}

export const countFilters = (read: (name: string) => string): number =>
  FILTERS.filter((name) => read(name)).length;
