// What the API said, in the page's language: the catalogue's words for a code, else the studio's own sentence.

import { ApiError, type ErrorBody } from "../api/client";
import type { RowProblem } from "../api/shapes";
import type { Catalogue } from "./en";

export function sayProblem(
  text: Catalogue,
  body: Pick<ErrorBody, "code" | "message" | "params">,
): string {
  const words = text.errors[body.code];
  return words ? words({ ...body.params, message: body.message }) : body.message;
}

export function sayError(text: Catalogue, error: unknown): string {
  if (error instanceof ApiError) return sayProblem(text, error.body);
  return error instanceof Error ? error.message : String(error);
}

export function sayRow(text: Catalogue, row: RowProblem): { problem: string; mend: string } {
  const words = text.hub.problem[row.code];
  return words ? words({ ...row.params, field: row.field }) : row;
}
