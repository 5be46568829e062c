// What the text of a source says of itself, before the studio is asked.

export const EXAMPLES = {
  hf: "hf://Qwen/Qwen3-0.6B@main",
  other: "hf+https://hub.example/owner/name",
  modelscope: "modelscope://Qwen/Qwen3-0.6B",
  drive: "drive:///models/mine",
  gguf: "https://host.example/model.Q4_K_M.gguf",
} as const;

export type Example = keyof typeof EXAMPLES;

const MOST_NAME = 96;

/** A name the hub takes, made from where something comes from; empty where nothing offers itself. */
export function nameFromSource(source: string): string {
  const [, rest] = source.trim().split("://", 2);
  if (rest === undefined) return "";
  const isHub = /^(hf|modelscope)/.test(source.trim());
  const path = (isHub ? rest.split("@")[0] : rest.split(/[?#]/)[0]) ?? "";
  const parts = path.split("/").filter(Boolean);
  if (parts.length < (source.trim().startsWith("drive:") ? 1 : 2)) return "";
  return (parts[parts.length - 1] ?? "")
    .replace(/\.gguf$/i, "")
    .replace(/[^\w.-]+/g, "-")
    .replace(/-{2,}/g, "-")
    .replace(/\.{2,}/g, ".")
    .replace(/^[^A-Za-z0-9]+/, "")
    .slice(0, MOST_NAME)
    .replace(/[.-]+$/, "");
}

export const isGguf = (source: string): boolean =>
  /^(https?|drive):.*\.gguf(\?.*)?$/i.test(source.trim());

export const isDrive = (source: string): boolean => source.trim().startsWith("drive:");
