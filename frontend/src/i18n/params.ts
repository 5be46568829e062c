// Values that a message is made with, as they come from the API.

export type Params = Record<string, unknown>;

/** A number in a sentence: divided, at most two digits after the point, or a dash where it is missing. */
export function n(value: unknown, divisor = 1): string {
  if (typeof value !== "number") return typeof value === "string" ? value : "-";
  return new Intl.NumberFormat("en", { maximumFractionDigits: 2 }).format(value / divisor);
}

export const MIB = 2 ** 20;
export const GIB = 2 ** 30;
