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
    chosen_reward: "Reward of chosen",
    eval_chosen_reward: "Held-out reward of chosen",
    rejected_reward: "Reward of rejected",
    eval_rejected_reward: "Held-out reward of rejected",
    chosen_score: "Score of chosen",
    eval_chosen_score: "Held-out score of chosen",
    rejected_score: "Score of rejected",
    eval_rejected_score: "Held-out score of rejected",
    mean_score: "Mean score",
    eval_mean_score: "Held-out mean score",
    mfu: "MFU",
    hfu: "HFU",
  } as Record<string, string>,
  how: {
    sft: {
      perplexity: "exp of the loss: how many tokens it hesitates between",
      accuracy: "Share of the learnt tokens that it holds likeliest",
    },
    pretrain: {
      perplexity: "exp of the loss: how many tokens it hesitates between",
      accuracy: "Share of the tokens that it holds likeliest",
    },
    dpo: {
      accuracy: "Share of the pairs whose chosen answer gained more than the rejected one",
      margin: "How much more the chosen answer gained",
      chosen_reward: "beta × what its log-probability gained over the base model's",
      rejected_reward: "beta × what its log-probability gained over the base model's",
    },
    reward: {
      accuracy: "Share of the pairs whose chosen answer scores higher",
      margin: "Score of the chosen answer less that of the rejected one",
      mean_score: "Of both answers; the barrier keeps scores between -5 and 5",
    },
  } as Record<string, Record<string, string>>,
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
