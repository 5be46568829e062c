// The words of stages, mixtures and the loss mask; fetched with the launch page, not with the first one.

import type { Params } from "../params";
import { n } from "../params";

export const training = {
  stage: {
    sft: { title: "Finetune", text: "Answers of conversations, tool calls included" },
    pretrain: { title: "Pretrain", text: "Every token of plain texts" },
    dpo: { title: "Preferences (DPO)", text: "Which of two answers is the better" },
    reward: { title: "Reward model", text: "A score for an answer, learnt from pairs" },
  } as Record<string, { title: string; text: string }>,
  basis: {
    runs: (n: number) => `from ${n} earlier run${n === 1 ? "" : "s"} of this model`,
    machine: () => "from the measured speed of this flavor's machines",
    guess: () => "a guess: no run has measured this flavor yet",
  } as Record<string, (numRuns: number) => string>,
  startLabel: "Starts from",
  start: {
    base: { title: "A base model", text: "Goes on with what it has learnt" },
    scratch: { title: "Nothing", text: "A new model, and a tokenizer trained on these rows" },
  } as Record<string, { title: string; text: string }>,
  method: {
    lora: { title: "LoRA adapter", text: "Small and quick; the base stays as it is" },
    qlora: { title: "QLoRA adapter", text: "The same beside a base held in 4 bits: least memory" },
    full: { title: "All weights", text: "Learns most, and makes a model of its own" },
  } as Record<string, { title: string; text: string }>,
  needs: {
    sft: "Rows of conversations: messages, Alpaca, ShareGPT, Guanaco or MOSS.",
    pretrain: "Rows with a text.",
    dpo: "Rows with prompt, chosen and rejected.",
    reward: "Rows with prompt, chosen and rejected.",
  } as Record<string, string>,
  format: {
    messages: "messages",
    alpaca: "Alpaca",
    sharegpt: "ShareGPT",
    guanaco: "Guanaco",
    moss: "MOSS",
    text: "plain text",
    preference: "preference pairs",
  } as Record<string, string>,
  verdict: {
    suits: "",
    needs_pairs: "no pairs of answers",
    is_pairs: "preference pairs",
    learns_all: "learnt whole, not answers alone",
    learns_answers: "answers alone are learnt",
    unknown: "in no format that is known",
  } as Record<string, string>,
  mixture: {
    add: "Add a dataset",
    dataset: (n: number) => `Further dataset ${n}`,
    weight: "Weight",
    weightOf: (n: number) => `Weight of dataset ${n}`,
    format: "Format",
    formatOf: (n: number) => `Format of dataset ${n}`,
    auto: "told from the rows",
    split: "Split",
    splitOf: (n: number) => `Split of dataset ${n}`,
    splitUsual: "train",
    remove: (n: number) => `Remove dataset ${n}`,
    none: "Only the dataset above.",
  },
  mask: {
    title: "What is learnt",
    text: "The first rows as the model sees them. Look here before you spend anything.",
    show: "Show the loss mask",
    again: "Try again",
    noTokenizer: "The run trains a tokenizer of its own: there is no mask before it.",
    pick: "Pick a model and a dataset first.",
    queued: "Waiting for a node…",
    running: "A node reads the first rows…",
    failed: "The rows could not be shown",
    learnt: "learnt",
    notLearnt: "not learnt",
    weighted: "learnt with another weight",
    weight: (weight: string) => `weight ${weight}`,
    row: (file: string, row: number) => `${file}, row ${row}`,
    chosen: "chosen",
    rejected: "rejected",
    tokens: (learnt: string, all: string) => `${learnt} of ${all} tokens are learnt`,
    goesOn: "… and so on",
    first: (n: string) => `Counted in the first ${n} rows of each file.`,
    file: "File",
    rows: "Rows",
    kept: "Kept",
    bad: "Bad",
    zeroLoss: "Nothing learnt",
    cut: "Cut",
    allTokens: "Tokens",
    learntTokens: "Learnt",
    noEnd: "Without end",
    dropped: (count: string, what: string) => `${count} × ${what}`,
    droppedTitle: "Left out:",
  },
  report: {
    format: "Format",
    files: "Files",
    file: "File",
    part: (share: string) => `Told from its first ${share}; the counts are of that part.`,
  },
  errors: {
    dataset_needs_pairs: (p: Params) =>
      `This stage learns from pairs of answers, and ${n(p.dataset)} has none. Pick a dataset with prompt, chosen and rejected.`,
    dataset_is_pairs: (p: Params) =>
      `${n(p.dataset)} holds preference pairs. Pick another dataset, or the stage Preferences or Reward model.`,
    dataset_learns_all: (p: Params) =>
      `${n(p.dataset)} holds plain texts: every token is learnt, not answers alone.`,
    dataset_learns_answers: (p: Params) =>
      `${n(p.dataset)} holds conversations: the answers alone are learnt, as in a finetune.`,
    dataset_format_unknown: (p: Params) =>
      `The rows of ${n(p.file)} are in no format that is known (${n(p.fields)}).`,
    fp8_without_gpu: () => "fp8 needs a GPU, and the flavor has none.",
    processes_not_devices: (p: Params) =>
      `The sizes make ${n(p.wanted)} processes, and the flavor has ${n(p.has)} GPUs: one for each.`,
    processes_not_cores: (p: Params) =>
      `The sizes make ${n(p.wanted)} processes, and the flavor has ${n(p.has)} cores.`,
    model_is_reward: (p: Params) =>
      `${n(p.model)} is a reward model, which writes nothing. Pick another one.`,
    output_taken: (p: Params) =>
      p.taken === "adapter"
        ? `${n(p.repo)} holds an adapter. Pick another name for the model.`
        : `${n(p.repo)} holds a base model. Pick another name for the result.`,
  } as Record<string, (params: Params) => string>,
  mend: {
    allow_bad_rows: (p: Params) => `Leave them out: allow ${n(Number(p.value) * 100)} % bad rows`,
    recompute_activations: () => "Recompute activations",
    train_adapter: () => "Train an adapter instead",
    quantize_base: () => "Hold the base in 4 bits",
    take_bf16: () => "Take bf16",
    offload: () => "Recompute, and use the host's memory",
    lighter_optimizer: () => "Take the 8-bit optimizer",
    lighter_optimizer_too: () => "Take the 8-bit optimizer, and recompute",
    train_adapter_too: () => "Train an adapter instead, and recompute",
    quantize_base_too: () => "Hold the base in 4 bits, and recompute",
    lower_rank_too: (p: Params) => `Set the LoRA rank to ${n(p.value)}, and recompute`,
    set_shards: (p: Params) => `Make ${n(p.value)} shards`,
  } as Record<string, (params: Params) => string>,
};

export type TrainingWords = typeof training;
