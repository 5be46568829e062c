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
  checkpoint_away: () => "要继续的检查点不在该节点上，请从头再次运行。",
  checkpoint_refused: ({ name, why }: Names) =>
    `检查点 ${name} 不能使用，它${why}：请从头再次运行。`,
  not_whole: () => "不完整",
  of_another_plan: () => "来自另一个数据集或另一份设置",
  no_fp8: () => "precision：fp8 需要能做 8 位浮点乘法的 GPU，例如 H100 或 L40，请改用 bf16。",
  model_not_trained: ({ why }: Names) => `模型：${why}，请换一个基座模型。`,
  has_sinks: () => "它的注意力带有注意力汇，本训练器不支持",
  head_differs: () => "它的输出头对 logits 除缩放和限幅外还有其他处理，本训练器不支持",
  no_head: () => "它不是由解码器和输出头组成，本训练器无法训练",
  sees_ahead: () => "它的词元能看到后面要预测的词元",
  samples_seen: ({ what }: Names) =>
    `它会让一个样本看到另一个样本，而 ${what} 需要把多个样本放在同一行`,
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
  muon_spread: () =>
    "optimizer：muon 需要每个进程都有完整的矩阵：请改用 adamw，或将 parallel.shards 与 parallel.tensor 设为 1",
  qlora_cut: () => "parallel.tensor：4 位的基座不能切分：请设为 1，或将 method 设为 lora",
  dora_cut: () => "lora.variant：dora 需要完整的矩阵：请将 parallel.tensor 设为 1，或选择 plain",
  moments_overflow: () => "某层的输入不是有限的数：模型在校准数据上溢出。",
  window_too_long: ({ most, given }: Names) =>
    `length：模型最多读 ${most} 个词元，请减小到不超过它（填写的是 ${given}）。`,
  no_readable_rows: () => "数据集：没有一行可读，请换一份。",
  no_whole_window: ({ length }: Names) =>
    `数据集：凑不满一段 ${length} 个词元的文本，请减小 length 或添加行。`,
  layers_not_quantized: ({ family }: Names) =>
    `模型：${family} 的层不像 Llama 那样只由归一化层和 q、k、v、o、gate、up、down 投影组成，请量化 Llama、Qwen、Mistral、Gemma 或 InternLM 系列的模型。`,
  not_quantizable: ({ model, why }: Names) => `模型：${model} 不能量化：${why}。`,
  not_text_alone: ({ family, families }: Names) =>
    `${family} 模型不只处理文本，这类模型中只能量化 ${families}`,
  quantized_already: () => "它已经是量化模型，请使用它的原模型",
  no_safetensors: () => "没有 .safetensors 文件",
  gguf_unreadable: ({ file, error }: Names) => `${file} 不是 GGUF 文件：${error}`,
  gguf_of_other_kind: ({ file, kind }: Names) => `${file} 里是 ${kind} 模型，只能读取 llama 架构`,
  gguf_lacks_tensor: ({ tensor }: Names) => `GGUF 文件里没有 ${tensor} 的张量，文件不完整`,
  gguf_does_not_say: ({ field }: Names) => `GGUF 文件没有写明 ${field}，文件不完整`,
  gguf_has_more: ({ tensor }: Names) => `GGUF 文件里有 ${tensor}，这类模型没有它`,
  ggufs_are_several: ({ folder, names }: Names) =>
    `${folder} 里有多个 GGUF 文件（${names}），请给出其中一个的路径`,
  no_layers: ({ family }: Names) => `没有层的列表（${family}）`,
  tensor_missing: ({ tensor }: Names) => `文件中缺少 ${tensor}`,
  weights_unreadable: ({ error }: Names) => `无法读取权重（${error}）`,
  no_group_size: ({ width }: Names) =>
    `模型：某层的 ${width} 个输入不能被 128、64 或 32 整除，请将 method 设为 smoothquant 或 int8。`,
  group_size_unfit: ({ width, size }: Names) =>
    `group_size：某层的 ${width} 个输入不能被 ${size} 整除，请留空或取更小的值。`,
  group_size_of_4_bits: ({ method }: Names) =>
    `group_size：${method} 的每个输出只有一个缩放系数，请留空，或将 method 设为 awq、gptq 或 rtn`,
  alpha_is_smoothquants: () => "alpha：属于 SmoothQuant，请去掉，或将 method 设为 smoothquant",
  quality_low: ({ model, scheme, found, least }: Names) =>
    `模型：${model}（${scheme}）与基座在 ${found} 的词元上一致，而 least_agreement 要求 ${least}：请降低它，将 on_low_agreement 设为 warn，或改用基座。`,
  quality_unknown: ({ model }: Names) =>
    `模型：${model} 是量化模型却没有成绩单：请降低 least_agreement，将 on_low_agreement 设为 warn，或改用基座。`,
  quality_unreadable: ({ model }: Names) =>
    `模型：${model} 的成绩单无法读取：请降低 least_agreement，将 on_low_agreement 设为 warn，或改用基座。`,
  quality_of_others: ({ model }: Names) =>
    `模型：${model} 的成绩单属于别的权重：请降低 least_agreement，将 on_low_agreement 设为 warn，或改用基座。`,
  precision_of_floats: ({ model, held_in }: Names) =>
    `precision：fp8 只舍入浮点模型，而 ${model} 以 ${held_in} 保存，请改用 bf16。`,
  precision_unfit: ({ families }: Names) => `precision：fp8 只用于 ${families}，请改用 bf16。`,
  kv_precision_unfit: ({ wanted, families }: Names) =>
    `kv_precision：${wanted} 只用于 ${families}，请设为 full。`,
  tensor_parallel_unfit: ({ families }: Names) => `tensor_parallel：仅适用于 ${families}，请留空。`,
  tensor_parallel_world: ({ wanted, there }: Names) =>
    `tensor_parallel：需要 ${wanted} 个进程，实际有 ${there} 个。请设为 1，或用 \`python -m engine serve\` 启动，它会启动其余进程。`,
  tensor_parallel_gpus: ({ wanted, there }: Names) =>
    `tensor_parallel：需要 ${wanted} 块 GPU，此运行只有 ${there} 块。请减小它，或选择有足够 GPU 的规格。`,
  setting_elsewhere: ({ field }: Names) => `${field}：由对方的服务器决定，请留空或更换后端`,
  setting_unknown: ({ field }: Names) => `${field}：LMDeploy 没有这项设置，请留空或更换后端`,
  lmdeploy_precision: ({ wanted }: Names) =>
    `precision：LMDeploy 没有 ${wanted}，请用 bf16 或更换后端`,
  batch_invariance_unfit: ({ families }: Names) =>
    `is_batch_invariant：只用于 ${families}，请去掉。`,
  no_room_for_contexts: ({ left, least }: Names) =>
    `kv_memory_bytes：留给上下文的有 ${left} 字节，而最短的也要 ${least}：请增加内存，或换更小的模型。`,
  adapters_fill_slots: ({ num }: Names) => `adapters：${num} 个占满了全部位置，请减少。`,
  grpc_port_taken: ({ address }: Names) => `gRPC 不能使用 ${address}，请换一个端口。`,
  lmdeploy_unnamed: () =>
    "backend：lmdeploy 需要它自己的环境：请用 `python -m engine lmdeploy install DIR` 创建，并以 --lmdeploy DIR 指明。",
  lmdeploy_missing: ({ folder, again }: Names) =>
    `${folder} 中没有 bin/lmdeploy：请用 \`python -m engine lmdeploy install ${again}\` 创建。`,
  lmdeploy_unknown: ({ program, why, version }: Names) =>
    `${program} 不是已知的 LMDeploy：${why}；请另装 ${version}。`,
  lmdeploy_unrunnable: ({ program, error }: Names) => `无法运行 ${program}：${error}。`,
  lmdeploy_lacks: ({ flag, version }: Names) => `这个 LMDeploy 没有 ${flag}，请另装 ${version}。`,
  lmdeploy_ended: ({ said }: Names) => `LMDeploy 在加载时结束：\n${said}`,
  lmdeploy_silent: ({ seconds, said }: Names) => `LMDeploy 在 ${seconds} 秒内没有应答：\n${said}`,
  server_not_allowed: ({ url }: Names) =>
    `url：该节点不访问 ${url} 上的服务，请管理员把它加入 ATHANOR_MODEL_SERVERS。`,
  url_no_address: ({ url, error }: Names) => `url：${url} 不是地址：${error}。`,
  url_refused: ({ url, said }: Names) => `url：${url} 拒绝：${said}`,
  tensor_parallel_wide: ({ error, world }: Names) =>
    `tensor_parallel：${error}（${world} 个设备），请减少设备。`,
  tensor_parallel_uneven: ({ name, size, world }: Names) =>
    `tensor_parallel：模型的 ${name} 为 ${size}，不能分给 ${world} 个设备，请取能整除的数。`,
  not_servable: ({ model, why }: Names) => `模型：${model} 不能提供服务：${why}。`,
  no_layer_to_adapt: ({ names }: Names) => `该基座没有名为 ${names} 的线性层`,
  odd_adapter_weight: ({ what, name }: Names) =>
    `adapter_model.safetensors ${what === "no" ? "缺少权重" : "有未知的权重"} ${name}`,
  adapter_of_another: ({ name, shapes }: Names) =>
    `${name} 的形状是 ${shapes}：它是在另一个基座上训练的`,
  adapter_no_floats: ({ name, dtype }: Names) => `${name} 是 ${dtype}，不是适配器的数值`,
  step_too_small: ({ most, running }: Names) =>
    `max_batch_tokens 为 ${most}，max_running 为 ${running}：请让前者大于后者，或减小后者。`,
  url_with_remote: () => "url 与 backend: remote 必须一起设置，请都设置或都不设置",
};
