// How to use a repo from other programs, with this studio's address in `HF_ENDPOINT`.

import type { RepoDetail } from "../../api/shapes";

export interface Snippet {
  key: "transformers" | "peft" | "datasets" | "huggingface_hub" | "cli";
  code: string;
}

type Used = Pick<RepoDetail, "id" | "kind" | "role" | "weights" | "base_model">;

/** `revision` is empty for the newest state of main. */
export function snippetsOf(repo: Used, origin: string, revision: string): Snippet[] {
  const isDataset = repo.kind === "dataset";
  const loaders: Snippet[] = [];
  if (isDataset) loaders.push({ key: "datasets", code: datasets(repo, revision) });
  else if (repo.role === "adapter") loaders.push({ key: "peft", code: peft(repo, revision) });
  else if (repo.weights?.format === "safetensors")
    loaders.push({ key: "transformers", code: transformers(repo, revision) });
  const head = `import os\n\nos.environ["HF_ENDPOINT"] = ${quote(origin)}  # before the import below\n\n`;
  return [
    ...loaders.map(({ key, code }) => ({ key, code: head + code })),
    { key: "huggingface_hub", code: head + hub(repo, revision) },
    { key: "cli", code: cli(repo, origin, revision) },
  ];
}

const quote = (value: string): string => JSON.stringify(value);
const at = (revision: string): string => (revision ? `, revision=${quote(revision)}` : "");

function transformers({ id }: Used, revision: string): string {
  return [
    "from transformers import AutoModelForCausalLM, AutoTokenizer",
    "",
    `tokenizer = AutoTokenizer.from_pretrained(${quote(id)}${at(revision)})`,
    `model = AutoModelForCausalLM.from_pretrained(${quote(id)}${at(revision)})`,
  ].join("\n");
}

function peft({ id }: Used, revision: string): string {
  return [
    "from peft import AutoPeftModelForCausalLM",
    "",
    "# loads the base too, and puts the adapter on it",
    `model = AutoPeftModelForCausalLM.from_pretrained(${quote(id)}${at(revision)})`,
  ].join("\n");
}

function datasets({ id }: Used, revision: string): string {
  return [
    "from datasets import load_dataset",
    "",
    `dataset = load_dataset(${quote(id)}${at(revision)})`,
  ].join("\n");
}

function hub({ id, kind }: Used, revision: string): string {
  const type = kind === "dataset" ? ', repo_type="dataset"' : "";
  return [
    "from huggingface_hub import snapshot_download",
    "",
    `folder = snapshot_download(${quote(id)}${type}${at(revision)})`,
  ].join("\n");
}

function cli({ id, kind }: Used, origin: string, revision: string): string {
  const type = kind === "dataset" ? " --repo-type dataset" : "";
  const where = revision ? ` --revision ${shell(revision)}` : "";
  return [`export HF_ENDPOINT=${shell(origin)}`, `hf download ${id}${type}${where}`].join("\n");
}

const shell = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
