// The launch form's words in Chinese, by field path. English comes with the schema itself.
// fields.test.ts holds this list against the schema, so that a new field cannot stay without words.

export interface FieldWords {
  title: string;
  help: string;
  /** What its options are called, where not by their own names. */
  options?: Readonly<Record<string, string>>;
}

export const fields: Record<string, FieldWords> = {
  model: { title: "基座模型", help: "从这个模型开始。" },
  dataset: {
    title: "数据集",
    help: "从中学习的数据：JSONL、JSON、Parquet 或 CSV，任何已知的格式。",
  },
  output: {
    title: "结果名称",
    help: "在您的命名空间里接收结果的仓库。留空则按模型和数据集命名。",
  },
  num_epochs: { title: "轮数", help: "整个数据集看几遍。" },
  max_steps: { title: "最多步数", help: "无论轮数多少，到这么多步就停。" },
  learning_rate: {
    title: "学习率",
    help: "预热之后达到的最大步长。不填时按阶段和方法决定：SFT 的 LoRA 适配器是 2e-3，全部权重是其十分之一或更小。",
  },
  tokens_per_step: { title: "每步词元数", help: "一次参数更新所用的词元，紧凑拼接，不做填充。" },
  max_length: { title: "最长样本", help: "更长的对话会在这里截断。" },
  micro_batch_tokens: {
    title: "同时处理的词元",
    help: "同时放进内存的词元。调小可以省内存，不影响结果。",
  },
  stage: { title: "阶段", help: "学什么：对话中的回答、文本的每个词元，或两个回答中哪个更好。" },
  method: {
    title: "方法",
    help: "`lora` 训练适配器，`qlora` 让基座以 4 位保存，`full` 训练全部权重。",
  },
  mixture: { title: "混合数据", help: "更多数据集，各有权重；第一个数据集的权重是 1。" },
  max_bad_fraction: {
    title: "允许的坏行",
    help: "可以跳过的坏行占比；超过时任务会被拒绝。",
  },
  lora: { title: "LoRA", help: "适配器的形状。" },
  "lora.variant": {
    title: "变体",
    help: "rsLoRA 按 alpha / sqrt(秩) 缩放；DoRA 另外学习每个输出的大小。",
  },
  "lora.rate_ratio": { title: "B 的学习率倍数", help: "适配器第二个矩阵的学习率是几倍（LoRA+）。" },
  dpo: { title: "DPO", help: "用于 dpo 阶段：更好的回答变得更可能，更差的更不可能。" },
  "dpo.beta": { title: "Beta", help: "与原模型保持多近：越小，走得越远。" },
  reward: { title: "奖励模型", help: "用于 reward 阶段：给回答打分，而不是写字。" },
  "reward.focus": { title: "聚焦", help: "已经排对的一对减轻多少（报告中的 gamma）。" },
  "reward.barrier": { title: "边界", help: "把分数留在 -5 与 5 之间的力度（报告中的 lambda）。" },
  optimizer: {
    title: "优化器",
    help: "AdamW；占用四分之一内存的 8 位 AdamW；或层内矩阵用 Muon，其余用 AdamW。",
  },
  offload: {
    title: "放到主机内存",
    help: "GPU 暂时不用的内容放在主机内存里：更慢，但更省显存。",
  },
  context: { title: "窗口", help: "通过旋转位置的底数，让模型的窗口更长。" },
  "context.rope_theta": {
    title: "旋转位置底数",
    help: "越大转得越慢，能分清更远的位置；留空则不变。",
  },
  "context.max_position": {
    title: "窗口长度",
    help: "模型配置告诉服务端的最长序列；留空则不变。",
  },
  "lora.train_embeddings": {
    title: "嵌入和输出层",
    help: "除适配器外完整训练嵌入和输出层，用于模型几乎不认识的文字。适配器会很大，部署前需要合并。",
  },
  from_scratch: { title: "新模型", help: "以随机权重开始的模型的形状，以及它的分词器。" },
  "from_scratch.architecture": {
    title: "结构",
    help: "`llama` 到处都能打开；`internlm2` 使用 InternLM2 的名称和合并的投影。",
  },
  "from_scratch.hidden_size": { title: "宽度", help: "模型内部用多少个数表示一个词元。" },
  "from_scratch.num_layers": { title: "层数", help: "注意力和前馈块的数量。" },
  "from_scratch.num_heads": { title: "注意力头", help: "它们平分宽度。" },
  "from_scratch.num_kv_heads": {
    title: "键值头",
    help: "每个键值头供几个查询共用；0 表示每个查询一个。",
  },
  "from_scratch.intermediate_size": {
    title: "内部宽度",
    help: "前馈部分的宽度；0 表示宽度的 8/3，向上取到 64 的倍数。",
  },
  "from_scratch.max_positions": { title: "上下文", help: "模型所能处理的最长文本。" },
  "from_scratch.rope_theta": { title: "旋转基数", help: "旋转角的基数；上下文越长，取值越大。" },
  "from_scratch.tie_embeddings": {
    title: "共享嵌入",
    help: "输出层与嵌入共用权重：权重更少，适合小模型。",
  },
  "from_scratch.tokenizer": { title: "分词器", help: "怎样训练新的分词器。" },
  "from_scratch.tokenizer.vocab_size": {
    title: "词表大小",
    help: "最多有多少个词元，特殊词元也算在内。文本少时会更小。",
  },
  "from_scratch.tokenizer.special_tokens": {
    title: "特殊词元",
    help: "不会被切开。第一个用来结束文档和填充。",
  },
  "from_scratch.tokenizer.chat_template": {
    title: "对话模板",
    help: "对话的 Jinja 模板。留空则用 ChatML，只要它的词元在特殊词元之中。",
  },
  "from_scratch.tokenizer_from": {
    title: "沿用分词器",
    help: "直接使用这个模型的分词器，不训练新的。",
  },
  decay_ratio: { title: "下降", help: "`wsd` 曲线下降阶段占总步数的比例。" },
  activation_checkpointing: {
    title: "重算激活",
    help: "为反向传播少存一些，用时再算：每隔一层，或所有层。",
  },
  compile: { title: "编译", help: "第一步之前编译每一层：开始较慢，之后更快。" },
  parallel: { title: "进程", help: "训练怎样分到多块 GPU 上。" },
  "parallel.replicas": { title: "副本", help: "各持有全部权重、分担样本的组数（DDP）。" },
  "parallel.shards": { title: "分片", help: "一组中各持有部分权重、分担样本的进程数（FSDP）。" },
  "parallel.sequence": { title: "序列切分", help: "各持有一行的一部分的进程数，用于长样本。" },
  "parallel.tensor": { title: "张量切分", help: "各持有每个矩阵一部分的进程数。" },
  "parallel.pipeline": {
    title: "流水线阶段",
    help: "各持有若干层、依次传递小批次的组数（1F1B）。",
  },
  keep_checkpoints: { title: "保留的检查点", help: "留下最近的几个检查点。" },
  "lora.rank": { title: "LoRA 秩", help: "适配器的宽度。越大学得越多，占用内存也越多。" },
  "lora.alpha": { title: "LoRA alpha", help: "适配器的输出按 alpha / 秩 缩放。" },
  "lora.dropout": { title: "LoRA 丢弃率", help: "训练时随机丢弃的适配器输入的比例。" },
  "lora.target_modules": { title: "适配的层", help: "加上适配器的线性层的名称。" },
  schedule: {
    title: "学习率曲线",
    help: "预热之后学习率如何下降；`wsd` 先保持，最后降到 0。",
  },
  warmup_ratio: { title: "预热", help: "学习率上升阶段占总步数的比例。" },
  weight_decay: { title: "权重衰减", help: "AdamW 把适配器拉向零的力度。" },
  max_grad_norm: { title: "梯度裁剪", help: "范数更大的梯度会被缩小到这个值。" },
  eval_fraction: { title: "留出比例", help: "不参与训练、用来计算评估损失的样本比例。" },
  eval_every_steps: { title: "评估间隔", help: "两次评估之间的步数。" },
  save_every_steps: {
    title: "检查点间隔",
    help: "两个检查点之间的步数。停止的任务会保留最近一个。",
  },
  precision: {
    title: "精度",
    help: "计算所用的数值格式；被训练的部分始终以 fp32 保存。fp8 是 bf16 加上 8 位的大矩阵乘法，需要支持它的 GPU。",
  },
  seed: { title: "随机种子", help: "同样的配置、种子和设备得到同样的损失。" },
  sample_prompts: { title: "样例提示", help: "每次评估时让模型作答，看着它学习。" },
  adapters: { title: "适配器", help: "启动时加载；运行中还可以再加。" },
  backend: {
    title: "推理后端",
    help: "由谁生成回答：内置引擎、独立环境中的 LMDeploy，或已经支持 OpenAI 接口的服务器。",
    options: { native: "内置引擎", lmdeploy: "LMDeploy", remote: "远程服务器" },
  },
  url: { title: "远程服务器地址", help: "写到 /v1 为止，例如 http://10.0.0.5:8000/v1。" },
  max_context: { title: "最长上下文", help: "提示和回答合计的长度；更长的请求会被拒绝。" },
  adapter_memory_bytes: {
    title: "适配器内存",
    help: "所有适配器合计；超出后卸下最久没有被提问的那个。",
  },
  least_agreement: {
    title: "最低一致率",
    help: "量化模型与其基座一致的词元占比至少要有多少，以成绩单为准。0 表示不作要求。",
  },
  on_low_agreement: {
    title: "低于它时",
    help: "一致率更低的模型是带着日志中的警告照常服务，还是不服务。",
    options: { warn: "警告", refuse: "不服务" },
  },
  "serve.precision": {
    title: "精度",
    help: "权重的数值格式。fp8 是 bf16，但各层的矩阵在加载时舍入到 8 位并以此相乘：内存减半，需要支持它的 GPU。",
  },
  "quantize.model": { title: "模型", help: "要取整其权重的模型。必须含有全部权重：不能是适配器。" },
  "quantize.method": {
    title: "方法",
    help: "`awq`、`gptq` 和 `rtn` 用 4 位保存权重；`smoothquant` 的权重和输入都是 8 位，`int8` 只有权重是 8 位。",
  },
  "quantize.dataset": {
    title: "校准数据",
    help: "与模型将要回答的内容相近的文本或对话。留空则用引擎自带的一小份英文、中文和代码。",
  },
  "quantize.output": {
    title: "结果名称",
    help: "在您的命名空间里接收结果的仓库。留空则按模型和方法命名。",
  },
  "quantize.group_size": {
    title: "分组大小",
    help: "4 位方法中共用一个缩放系数的权重数。越小越准确，也略大一些。留空则取 128、64、32 中能整除各层的最大者。",
  },
  "quantize.num_samples": { title: "校准样本数", help: "模型读多少段文本来判断什么重要。" },
  "quantize.num_held_out": {
    title: "测量样本数",
    help: "用多少段文本测量困惑度；它们来自校准之外的行。",
  },
  "quantize.length": { title: "长度", help: "每段文本的词元数。" },
  "quantize.damping": {
    title: "阻尼",
    help: "GPTQ：加到曲率上的平均曲率占比，使其可以求逆。",
  },
  "quantize.alpha": {
    title: "Alpha",
    help: "SmoothQuant：输入的离散程度有多少移到权重里。留空则逐层搜索。",
  },
  "quantize.seed": { title: "随机种子", help: "决定取哪些文本。" },
  "script.command": {
    title: "命令",
    help: '程序及其参数。除 `sh -c "..."` 之外，不经过任何 shell。',
  },
  "script.code": {
    title: "代码",
    help: "只读地放在 `/code` 的仓库，命令从那里开始：`alice/my-code@main` 或 `datasets/alice/my-code`。留空则从云盘开始。",
  },
  "script.working_dir": {
    title: "起始文件夹",
    help: "从 `/` 写起，或相对于原本的起始位置。",
  },
  "script.home": {
    title: "主目录",
    help: "云盘挂载在 `/root`，可读可写，与开发机相同；空目录结束后不保留。",
    options: { drive: "云盘", empty: "空目录" },
  },
  "script.inputs": {
    title: "输入",
    help: "只读的仓库，按放置的位置填写：`alpaca` 就是 `/inputs/alpaca`。模型写 `命名空间/名称@版本`，数据集前面加 `datasets/`。",
  },
  "script.output": {
    title: "产出名称",
    help: "在您的命名空间里接收 `/output` 中文件的仓库。留空则不保存。",
  },
  "script.environment": {
    title: "环境变量",
    help: "命令的环境变量。不要写机密：能看到任务的人都能看到它们。",
  },
  "script.image": { title: "镜像", help: "在哪个开发机镜像里运行。留空则用列表中的第一个。" },
  "script.time_limit_minutes": {
    title: "时限",
    help: "到时会被停止，届时 `/output` 中的内容仍会保存。先按全部时限冻结算力点，未用完的会退回。",
  },
  max_waiting: { title: "最长队列", help: "可以等待的请求数；再多就请对方稍后再来。" },
  kv_memory_bytes: {
    title: "上下文内存",
    help: "运行中的请求和保留的前缀的键值缓存。留空则用设备余下的内存，最多用到同时运行的请求能占满为止。",
  },
  kv_precision: {
    title: "上下文精度",
    help: "键值缓存的精度：与计算相同，或随生成逐词元、逐头舍入。int8 能容纳约两倍的上下文，int4 接近四倍；对模型的影响见其质量报告。",
    options: { full: "与计算相同", int8: "int8", int4: "int4" },
  },
  is_batch_invariant: {
    title: "结果与批次无关",
    help: "无论同时还有哪些请求，回答的对数概率逐位相同；在处理器上本来如此，在其他设备上会慢一些。",
  },
  tensor_parallel: {
    title: "分担模型的设备数",
    help: "每个设备保存各层和上下文的一部分，合起来可容纳单个设备放不下的模型。须能整除模型的注意力头数；适配器也随之划分。",
  },
  max_running: { title: "同时处理的请求", help: "同时生成的回答数；越多，每个越慢，合计越快。" },
  max_batch_tokens: {
    title: "每步词元数",
    help: "提示按这么多词元一段读入，各段之间正在生成的回答继续；越大读得越快，越小回答越平稳。要大于同时处理的请求数。",
  },
  has_prefix_cache: { title: "保留前缀", help: "同一租户先前请求的相同开头不再重算。" },
  max_waiting_of_tenant: {
    title: "单个租户的最长队列",
    help: "一个租户可以等待的请求数；再多也不会占用其他租户的位置。",
  },
  max_running_of_tenant: {
    title: "单个租户同时处理的请求",
    help: "为一个租户同时生成的回答数，没有其他租户时也是如此。",
  },
};
