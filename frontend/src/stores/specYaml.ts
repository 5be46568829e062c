// A spec as YAML and back. Apart from specSchema.ts so that the parser is loaded only where YAML is shown.

import { LineCounter, isMap, parseDocument, stringify } from "yaml";
import type { SpecValue } from "../api/shapes";

export function toYaml(spec: SpecValue): string {
  return stringify(spec, { lineWidth: 100 });
}

export type YamlReading =
  { spec: SpecValue; problem: null } | { spec: null; problem: { line: number; message: string } };

/** Read what a person typed. Anything but a mapping is a problem with the line it is in. */
export function fromYaml(text: string): YamlReading {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const error = document.errors[0];
  if (error) {
    return {
      spec: null,
      problem: { line: lines.linePos(error.pos[0]).line, message: error.message },
    };
  }
  if (!isMap(document.contents)) {
    return { spec: null, problem: { line: 1, message: "not_a_mapping" } };
  }
  return { spec: document.toJS() as SpecValue, problem: null };
}
