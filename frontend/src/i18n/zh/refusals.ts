// What engines refuse of data, models and specs, in Chinese, by the codes of engine/refusals.py.

type Names = Record<string, string>;

export const refusals = {
  no_rows: ({ files }: Names) => `数据集：${files} 中没有行，请添加。`,
  bad_rows: ({ num, where, rows }: Names) => `数据集：${where} 中有 ${num} 个坏行：${rows}`,
  bad_rows_allowed: ({ num, where, total, most, rows }: Names) =>
    `数据集：${where} 共 ${total} 行，其中 ${num} 个坏行，而 max_bad_fraction 只允许 ${most}：${rows}`,
  no_words: () => "数据集：没有可用来训练分词器的文字，请添加文本行。",
  template_is_no_jinja: ({ error, line }: Names) =>
    `chat_template：不是 Jinja 模板（${error}，第 ${line} 行），请修正。`,
  format_unknown: ({ file, fields, formats }: Names) =>
    `数据集：${file} 的行不是已知的格式（字段：${fields}）。请指定格式（${formats} 之一）并修正这些行。`,
  dataset_problem: ({ problem }: Names) => `数据集：${problem}`,
  not_data_file: ({ file, endings }: Names) => `${file} 不是数据文件，请使用 ${endings} 之一。`,
  file_breaks_off: ({ file, error }: Names) => `${file} 不能读到结尾（${error}），请重新保存。`,
  not_parquet: ({ file, error }: Names) =>
    `${file} 不是可读的 Parquet 文件（${error}），请重新保存。`,
  file_broken: ({ what }: Names) => `${what}：请修正文件，或改写为 JSON Lines。`,
  no_column_names: ({ file }: Names) => `${file} 的第一行没有明确的列名，请写上。`,
  no_data_file: ({ endings, where }: Names) => `${where} 中没有 ${endings}，请添加数据文件。`,
  split_not_there: ({ told }: Names) => `没有以这个划分命名的文件：${told}。请指定文件。`,
  split_unclear: ({ files }: Names) =>
    `有些文件以其他划分命名，却没有 train（${files}），请指定划分或文件。`,
  pattern_matches_none: ({ told }: Names) => `没有文件与它相符：${told}。请修正它。`,
  pairs_mixed: () => "数据集：有些文件是偏好对，有些不是，请分两次训练。",
  too_few_rows: ({ num }: Names) =>
    `数据集：只有 ${num} 行的回答在 max_length 之内，至少要两行：请提高 max_length 或添加行。`,
  pairs_not_learnt: () => "数据集：内容是偏好对，这种训练学不了：请换一种训练，或使用对话数据。",
  pairs_wanted: ({ stage }: Names) =>
    `数据集：${stage} 阶段学习成对的回答，而这里没有：请使用带 prompt、chosen 和 rejected 的行。`,
  row_unmaskable: ({ row }: Names) =>
    `数据集：在该模型的对话模板下，第 ${row} 行不能逐轮遮盖：请为每个回答拆成一段对话。`,
  row_refused: ({ row, problem }: Names) => `数据集：第 ${row} 行：${problem}`,
  no_chat_template: () => "模型：它的分词器没有对话模板。请换用指令模型，或用纯文本行训练。",
  repo_not_there: ({ repo }: Names) => `${repo} 不在仓库中，或这次运行无权使用，请检查名称。`,
  hub_refuses: ({ repo, status, words }: Names) =>
    `仓库拒绝了 ${repo}（${status}：${words}），请检查名称。`,
  repo_not_fetched: ({ repo, words }: Names) => `无法获取 ${repo}：${words}`,
  hub_away: ({ repo, hub, time }: Names) => `${repo}：${hub} 在 ${time} 内没有应答，请再次运行。`,
  path_not_there: ({ kind, path }: Names) => `${kind}：${path} 不存在，请填写已有的路径。`,
  model_unusable: ({ model, why }: Names) => `模型：${model} 不能使用：${why}。`,
  instruct_wanted: () => "它的分词器没有对话模板，请换用指令模型",
  tokenizer_unreadable: ({ error }: Names) => `无法读取它的分词器（${error}）`,
  model_unreadable: ({ error }: Names) => `无法打开（${error}）`,
  embeddings_tied: ({ embedding }: Names) =>
    `lora.train_embeddings：该模型的 ${embedding} 与输出头共享，peft 不支持：请去掉它，或将 method 设为 full。`,
  no_such_layer: ({ missing, there }: Names) =>
    `lora.target_modules：模型没有名为 ${missing} 的线性层，有的是 ${there}。`,
  no_end_token: () => "from_scratch.tokenizer_from：它的分词器没有结束词元，请换一个。",
  window_stays: ({ why }: Names) => `context：模型${why}，窗口不能改变，请去掉 context。`,
  no_rotary: () => "没有旋转位置编码",
  bases_by_layer: () => "各类层有各自的旋转基数",
  attention_differs: ({ what, mend }: Names) =>
    `模型：它的注意力（${what}）超出本训练器的能力：${mend}请换一个基座模型。`,
  caps_scores: () => "限制分数上限",
  has_sinks: () => "带有注意力汇",
  attention_window: ({ window, longest }: Names) =>
    `只看 ${window} 个词元，而最长样本有 ${longest} 个`,
  lower_length_or: () => "请减小 max_length，或",
  checkpoint_away: () => "要继续的检查点不在该节点上，请从头再次运行。",
  checkpoint_refused: ({ name, why }: Names) =>
    `检查点 ${name} 不能使用，它${why}：请从头再次运行。`,
  not_whole: () => "不完整",
  of_another_plan: () => "来自另一个数据集或另一份设置",
  no_fp8: () => "precision：fp8 需要能做 8 位浮点乘法的 GPU，例如 H100 或 L40，请改用 bf16。",
  head_differs: () =>
    "模型：它的输出头会缩放、限幅或平移 logits，本训练器不支持，请换一个基座模型。",
  not_finite: ({ step, rows }: Names) =>
    `第 ${step} 步的损失或梯度不是有限的数（数据集第 ${rows} 行）：请调低 learning_rate，或检查这些行。这一步没有改动权重。`,
  matrices_uncut: ({ why }: Names) => `parallel.tensor：${why}，请设为 1。`,
  matrices_unsaid: () => "该模型没有说明矩阵如何切分",
  matrices_style: ({ part, style }: Names) => `${part} 需按 ${style} 切分，本训练器不支持`,
  matrices_part: ({ part, error }: Names) => `${part} 不能切分（${error}）`,
  matrices_4bit: () => "4 位或没有普通线性层的基座不能切分",
  dora_whole: () =>
    "lora.variant：dora 需要完整的矩阵：请将 parallel.tensor 设为 1，或选择 plain。",
  muon_whole: () =>
    "optimizer：muon 需要每个进程都有完整的矩阵：请改用 adamw，或将 parallel.shards 与 parallel.tensor 设为 1。",
  layers_uncut: ({ why }: Names) => `parallel.pipeline：${why}，请设为 1 或减小它。`,
  layers_too_few: ({ stages, layers }: Names) => `模型的 ${layers} 层不够 ${stages} 段来分`,
  layers_unsaid: () => "该模型没有说明各层如何切分",
  layers_entangled: () => "该模型在各层之外还会改变隐藏状态",
  world_differs: ({ wanted, there }: Names) =>
    `parallel：需要 ${wanted} 个进程，而现有 ${there} 个：请修改 parallel，或以同样多的进程启动。`,
  gpus_too_few: ({ wanted, there }: Names) =>
    `parallel：需要 ${wanted} 个进程，而运行有 ${there} 块 GPU：请减小它，或选择 GPU 足够的规格。`,
  heads_undealt: ({ field, heads, kv_heads, tensor, sequence }: Names) =>
    `parallel.${field}：模型的 ${heads} 个头和 ${kv_heads} 个键值头不能分给 tensor ${tensor} × sequence ${sequence}：请取约数。`,
  adapter_unusable: ({ why }: Names) => `适配器不能使用：${why}。`,
  script_needs_box: () => "脚本只能在容器里运行，而该节点不能创建容器，请联系运营人员。",
  path_in_box: ({ kind, path }: Names) =>
    `${kind}：${path} 是路径，而容器中的引擎看不到节点上的文件，请填写仓库名称。`,
  output_linked: () => "引擎的产出中有链接，没有保存任何内容。",
  carrier_silent: ({ status }: Names) =>
    `运行容器的程序以 ${status} 结束，没有留下说明，请再次运行。`,
  run_dir_incomplete: ({ error }: Names) => `运行目录不完整：${error}`,
  port_taken: ({ address, error }: Names) => `无法占用 ${address}（${error}），请换一个端口。`,
  ref_form: () => "请写成 命名空间/名称、命名空间/名称@版本，或以 ./ 或 / 开头的路径",
  special_tokens_twice: () => "special_tokens 中有空的或重复的词元，每个只写一次",
  vocab_too_small: ({ bytes, num }: Names) =>
    `vocab_size 容不下 ${bytes} 个字节和 ${num} 个特殊词元，请提高`,
  heads_uneven: ({ size, heads }: Names) =>
    `hidden_size ${size} 不能分给 ${heads} 个偶数宽度的头，请取 num_heads 两倍的倍数`,
  kv_heads_uneven: ({ heads, kv_heads }: Names) =>
    `num_heads ${heads} 不能共用 ${kv_heads} 个键值头，num_kv_heads 请取约数`,
  no_own_files: () => "节点上没有您的文件，请填写仓库名称",
  no_program: () => "命令没有程序，请先写程序的名称或路径",
  command_word: ({ most }: Names) => `命令中有超过 ${most} 个字符的词，或含有 NUL`,
  environment_name: ({ name }: Names) =>
    `环境变量名 ${name} 不可用：只能用字母、数字和 _，且不以数字开头`,
  environment_own: ({ name, own }: Names) => `环境变量 ${name} 不可用：${own} 开头的名称属于平台`,
  environment_value: ({ most, name }: Names) =>
    `环境变量 ${name} 的值超过 ${most} 个字符，或含有 NUL`,
  input_place: ({ place }: Names) =>
    `输入的位置 ${place} 不可用：请写名称，或 /inputs、/share、/data、/mnt 之下的路径`,
  input_within: ({ inner, outer }: Names) => `输入的位置 ${inner} 在 ${outer} 之内，请各自分开`,
  no_decoder: ({ key }: Names) => `config.json 没有 ${key}，不是已知的解码器`,
  two_models: () => "model 与 from_scratch 只能填写其中一个",
  no_model: () => "缺少 model：请填写一个，或在 from_scratch 中说明新模型的结构",
  scratch_is_pretrain: () =>
    "from_scratch 用于预训练全部权重：请将 stage 设为 pretrain，method 设为 full",
  longer_than_positions: () =>
    "max_length 大于 from_scratch.max_positions：请减小它，或提高 max_positions",
  reward_is_silent: () => "sample_prompts：奖励模型不会写字，请去掉",
  micro_over_step: () =>
    "micro_batch_tokens 大于 tokens_per_step：请减小它，或提高 tokens_per_step",
  longer_than_micro: () =>
    "max_length 大于 micro_batch_tokens：请减小它，或提高 micro_batch_tokens",
  pipeline_is_silent: () =>
    "sample_prompts：流水线中没有哪个进程能独自回答：请去掉，或将 parallel.pipeline 设为 1",
  adapter_window: () => "context：适配器不能改变基座的窗口：请将 method 设为 full，或去掉 context",
  scratch_window: () =>
    "context：新模型的窗口由 from_scratch 的 max_positions 与 rope_theta 决定，请去掉 context",
  fp8_whole: () =>
    "precision：fp8 需要高于 4 位的完整矩阵：请改用 bf16，或将 method 设为 lora 或 full，且 parallel.tensor 设为 1",
};
