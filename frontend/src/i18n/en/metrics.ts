// What a run measures, by the names in its metric events; fetched with the job page. Others go by their own name.

export const metrics = {
  title: "Measured",
  more: "Other measures",
  name: {
    loss: "Training loss",
    eval_loss: "Evaluation loss",
    learning_rate: "Learning rate",
    grad_norm: "Gradient norm",
    epoch: "Epoch",
    tokens_per_s: "Speed",
    supervised_tokens_per_s: "Speed, learnt tokens",
    memory_bytes: "Memory",
    perplexity: "Perplexity",
    eval_perplexity: "Held-out perplexity",
    accuracy: "Accuracy",
    eval_accuracy: "Held-out accuracy",
    margin: "Margin",
    eval_margin: "Held-out margin",
    chosen_score: "Score of chosen",
    rejected_score: "Score of rejected",
    mean_score: "Mean score",
    eval_mean_score: "Held-out mean score",
    mfu: "MFU",
    hfu: "HFU",
  } as Record<string, string>,
  perplexityHow: "exp of the evaluation loss: how many tokens it hesitates between",
  result: {
    adapter: "The adapter is ready",
    model: "The model is ready",
    reward: "The reward model is ready",
  } as Record<string, string>,
  rewardText: "It scores answers and gives none itself.",
  stage: {
    sft: "Finetune",
    pretrain: "Pretraining",
    dpo: "Preferences (DPO)",
    reward: "Reward model",
  } as Record<string, string>,
  method: { lora: "LoRA", qlora: "QLoRA", full: "all weights" } as Record<string, string>,
  facts: { stage: "Stage", method: "Method", mixture: "Mixture", processes: "Processes" },
  times: (weight: string) => `× ${weight}`,
};

export type MetricWords = typeof metrics;
