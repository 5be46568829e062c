// Where the links and pictures of a card lead: relative ones to the repo's own files, and nowhere else.

import type { Repo } from "../../api/shapes";

type Named = Pick<Repo, "kind" | "id">;

/** Where a repo's files lie at a revision, with a slash at the end. */
export const filesUrl = ({ kind, id }: Named, revision: string): string =>
  `${kind === "dataset" ? "/datasets/" : "/"}${id}/resolve/${encodeURIComponent(revision)}/`;

export const fileUrl = (repo: Named, revision: string, path: string): string =>
  filesUrl(repo, revision) + path.split("/").map(encodeURIComponent).join("/");

/** Whether an address names its own scheme or server. */
export const isElsewhere = (url: string): boolean => /^([a-z][a-z0-9+.-]*:|\/\/)/i.test(url);

/**
 * The address that a card's own address means below `base`; empty where it would lead out of the repo.
 * Addresses of elsewhere and of headings are left as they are.
 */
export function resolveCardUrl(url: string, base: string): string {
  if (url.startsWith("#") || isElsewhere(url)) return url;
  const [, path = "", heading = ""] = /^([^?#]*)(?:\?[^#]*)?(#.*)?$/s.exec(url) ?? [];
  const kept: string[] = [];
  for (const raw of path.split("/")) {
    const part = decode(raw);
    if (part === null || /[/\\]/.test(part)) return "";
    if (part === "" || part === ".") continue;
    if (part !== "..") kept.push(part);
    else if (kept.pop() === undefined) return "";
  }
  return kept.length > 0 ? base + kept.map(encodeURIComponent).join("/") + heading : "";
}

function decode(part: string): string | null {
  try {
    return decodeURIComponent(part);
  } catch {
    return null;
  }
}
