// Reads the scores of a card's `model-index`, which anybody may have written anyhow.

export interface Score {
  key: string;
  task: string;
  dataset: string;
  metric: string;
  value: string;
}

const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);
const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null
    ? (value as Record<string, unknown>)[name]
    : undefined;
const plain = (value: unknown): string =>
  typeof value === "string" || typeof value === "number" ? String(value).slice(0, 200) : "";
const called = (value: unknown): string =>
  plain(field(value, "name")) || plain(field(value, "type"));

export function readScores(metadata: Record<string, unknown>): Score[] {
  return list(metadata["model-index"])
    .flatMap((model) => list(field(model, "results")))
    .flatMap((result) =>
      list(field(result, "metrics")).map((metric) => ({
        task: called(field(result, "task")),
        dataset: called(field(result, "dataset")),
        metric: called(metric),
        value: plain(field(metric, "value")),
      })),
    )
    .filter((score) => score.metric && score.value)
    .map((score, index) => ({ key: String(index), ...score }));
}
