// What a node cannot limit of its disk, in one sentence each with its mend.

import type { Node } from "../../api/shapes";
import type { Catalogue } from "../../i18n/en";

/** Nothing of a node that answers no more: what it said may be mended. */
export function sayUnlimited(engine: Node["engine"], words: Catalogue["nodes"]): string[] {
  if (!engine?.is_fresh) return [];
  return engine.unlimited.flatMap((what) => words.unlimited[what] ?? []);
}
