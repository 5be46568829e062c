"""What engines refuse of data, models and specs, by code, for pages in other languages.

The sentences stand where they are said; this table repeats them, and a test holds the two together
(decision 046). Some are parts of others, such as why a model cannot be opened.
"""

from engine.sentences import Sentences

REFUSALS = Sentences(
    {
        "no_rows": "dataset: {files} holds no rows: add some.",
        "bad_rows": "dataset: {num} bad rows in {where}: {rows}",
        "bad_rows_allowed": "dataset: {num} bad rows in {where} of {total}, and max_bad_fraction "
        "allows {most}: {rows}",
        "no_words": "dataset: it has no words to train a tokenizer on: add rows of text.",
        "template_is_no_jinja": "chat_template: it is no Jinja template ({error}, line {line}): "
        "mend it.",
        "format_unknown": "dataset: the rows of {file} are in no format we know (fields: "
        "{fields}): name the format, one of {formats}, and mend the rows.",
        "dataset_problem": "dataset: {problem}",
        "not_data_file": "{file} is no data file: give one of {endings}.",
        "file_breaks_off": "{file} cannot be read to its end ({error}): save it again.",
        "not_parquet": "{file} is no Parquet file we can read ({error}): save it again.",
        "file_broken": "{what}: mend the file, or write JSON lines.",
        "no_column_names": "the first line of {file} has no clear column names: write them.",
        "no_data_file": "there is none of {endings} in {where}: add a data file.",
        "split_not_there": "no file is named after split {told}: name files.",
        "split_unclear": "some files are named after other splits and none after train "
        "({files}): name the split or the files.",
        "pattern_matches_none": "no file matches {told}: mend the pattern.",
        "pairs_mixed": "dataset: some files hold preference pairs and others do not: train on "
        "them in two runs.",
        "too_few_rows": "dataset: {num} rows have an answer within max_length and two are the "
        "least: raise max_length or add rows.",
        "pairs_not_learnt": "dataset: it holds preference pairs, which this training cannot "
        "learn from: choose one that does, or bring conversations.",
        "pairs_wanted": "dataset: stage {stage} learns from pairs of answers, and this dataset "
        "has none: bring rows with prompt, chosen and rejected.",
        "row_unmaskable": "dataset: row {row} cannot be masked turn by turn under this model's "
        "chat template: split it into one conversation for each answer.",
        "row_refused": "dataset: row {row}: {problem}",
        "no_chat_template": "model: its tokenizer has no chat template: take an instruct model, "
        "or train it on text rows.",
        "repo_not_there": "{repo} does not exist in the hub, or this run may not use it; check "
        "the name.",
        "hub_refuses": "{repo} is refused by the hub ({status}: {words}); check the name.",
        "repo_not_fetched": "{repo} cannot be fetched: {words}",
        "hub_away": "{repo}: {hub} did not answer for {time}; retry the run.",
        "path_not_there": "{kind}: {path} does not exist; give an existing path.",
        "model_unusable": "model: {model} is no model we can use: {why}.",
        "instruct_wanted": "its tokenizer has no chat template; take an instruct model",
        "tokenizer_unreadable": "its tokenizer cannot be read ({error})",
        "model_unreadable": "it cannot be opened ({error})",
        "embeddings_tied": "lora.train_embeddings: the model ties {embedding} to its head, which "
        "peft cannot do under that name: leave it out, or set method to full.",
        "no_such_layer": "lora.target_modules: the model has no linear layer named {missing}; it "
        "has {there}.",
        "no_end_token": "from_scratch.tokenizer_from: its tokenizer has no end token: take "
        "another one.",
        "window_stays": "context: the model {why}, so its window stays: leave context out.",
        "no_rotary": "has no rotary positions",
        "bases_by_layer": "has a base for each kind of its layers",
        "checkpoint_away": "The checkpoint to resume from is not on this node: retry the job "
        "from the start.",
        "checkpoint_refused": "Checkpoint {name} cannot be used, it {why}: retry the job from the "
        "start.",
        "not_whole": "is not whole",
        "of_another_plan": "was made with another dataset or another spec",
        "no_fp8": "precision: fp8 needs a GPU that multiplies 8-bit floats, such as an H100 or "
        "an L40: take bf16.",
        "model_not_trained": "model: {why}: pick another base model.",
        "has_sinks": "its attention has sinks, which this trainer does not do",
        "head_differs": "its output head does more to the logits than to scale and cap them, which "
        "this trainer does not do",
        "no_head": "it is not made of a decoder and an output head, which this trainer needs",
        "sees_ahead": "a token of it sees those behind it, which it is to foretell",
        "samples_seen": "it lets one sample see another, and {what} lays several in a row",
        "not_finite": "Loss or gradient is not a finite number at step {step} (dataset rows "
        "{rows}): lower learning_rate, or look at those rows. The weights were not touched "
        "by that step.",
        "matrices_uncut": "parallel.tensor: {why}: set it to 1.",
        "matrices_unsaid": "this model says nowhere how its matrices are cut",
        "matrices_style": "{part} would be cut as {style}, which this trainer does not do",
        "matrices_part": "{part} cannot be cut ({error})",
        "matrices_4bit": "a base at 4 bits or without plain linear layers cannot be cut",
        "dora_whole": "lora.variant: dora needs whole matrices: set parallel.tensor to 1, or "
        "take plain.",
        "muon_whole": "optimizer: muon needs whole matrices on each process: take adamw, or set "
        "parallel.shards and parallel.tensor to 1.",
        "layers_uncut": "parallel.pipeline: {why}: set it to 1, or lower it.",
        "layers_too_few": "{stages} stages cannot share the model's {layers} layers",
        "layers_unsaid": "this model says nowhere how its layers are cut",
        "layers_entangled": "this model changes hidden states outside its layers",
        "world_differs": "parallel: it asks for {wanted} processes and there are {there}: change "
        "parallel, or start it with as many.",
        "gpus_too_few": "parallel: it asks for {wanted} processes and the run has {there} GPUs: "
        "lower it, or take a flavor with as many.",
        "heads_undealt": "parallel.{field}: the model's {heads} heads and {kv_heads} key-value "
        "heads cannot be dealt to tensor {tensor} x sequence {sequence}: take a divisor.",
        "adapter_unusable": "The adapter cannot be used: {why}.",
        "script_needs_box": "A script runs in a container only, and this node makes none: ask "
        "its operator.",
        "path_in_box": "{kind}: {path} is a path, and an engine in a container sees no files of "
        "its node: name a repo of the hub.",
        "output_linked": "The engine left links in its output; nothing is pushed.",
        "carrier_silent": "What ran the container ended with {status} and left no word; retry the "
        "run.",
        "run_dir_incomplete": "The run directory is incomplete: {error}",
        "port_taken": "{address} cannot be taken ({error}); choose another port.",
        "ref_form": "write namespace/name, namespace/name@revision, or a path that starts with "
        "./ or /",
        "special_tokens_twice": "special_tokens holds an empty or a repeated one: name each once",
        "vocab_too_small": "vocab_size has no room for {bytes} bytes and {num} special tokens: "
        "raise it",
        "heads_uneven": "hidden_size {size} cannot be dealt to {heads} heads of an even width: "
        "take a multiple of twice num_heads",
        "kv_heads_uneven": "num_heads {heads} cannot share {kv_heads} key-value heads: take a "
        "divisor as num_kv_heads",
        "no_own_files": "a node has no files of yours: name a repo of the hub",
        "no_program": "command has no program: write its name or its path first",
        "command_word": "command has a word of more than {most} letters, or with a NUL",
        "environment_name": "environment has the name {name}: write letters, digits and _, and "
        "begin with no digit",
        "environment_own": "environment sets {name}: names with {own} are the studio's",
        "environment_value": "environment has a value of more than {most} letters, or with a "
        "NUL, for {name}",
        "input_place": "inputs has the place {place}: write a name, or a path below /inputs, "
        "/share, /data or /mnt",
        "input_within": "inputs has {inner} within {outer}: give each a place of its own",
        "no_decoder": "config.json has no {key}: it is no decoder we know",
        "two_models": "model and from_scratch are both given: take one of them out",
        "no_model": "model is missing: name one, or tell a new one's shape in from_scratch",
        "scratch_is_pretrain": "from_scratch is for pretraining all weights: set stage to "
        "pretrain and method to full",
        "longer_than_positions": "max_length is more than from_scratch.max_positions: lower it "
        "or raise max_positions",
        "reward_is_silent": "sample_prompts: a reward model writes nothing: take them out",
        "micro_over_step": "micro_batch_tokens is more than tokens_per_step: lower it or raise "
        "tokens_per_step",
        "longer_than_micro": "max_length is more than micro_batch_tokens: lower it or raise "
        "micro_batch_tokens",
        "pipeline_is_silent": "sample_prompts: no process of a pipeline can answer alone: leave "
        "them out or set parallel.pipeline to 1",
        "adapter_window": "context: an adapter cannot change its base's window: set method to "
        "full, or leave context out",
        "scratch_window": "context: a new model's window is told by from_scratch.max_positions "
        "and rope_theta: leave context out",
        "fp8_whole": "precision: fp8 multiplies whole matrices of more than 4 bits: take bf16, "
        "or set method to lora or full and parallel.tensor to 1",
        "muon_spread": "optimizer: muon needs whole matrices on each process: take adamw, or set "
        "parallel.shards and parallel.tensor to 1",
        "qlora_cut": "parallel.tensor: a base at 4 bits cannot be cut: set it to 1, or set method "
        "to lora",
        "dora_cut": "lora.variant: dora needs whole matrices: set parallel.tensor to 1, or take "
        "plain",
        "moments_overflow": "The inputs of a layer are no finite numbers: the model overflows on "
        "the calibration data.",
        "window_too_long": "length: the model reads {most} tokens at most: lower it to that or "
        "less (you gave {given}).",
        "no_readable_rows": "dataset: none of its rows can be read: bring others.",
        "no_whole_window": "dataset: its rows hold no whole window of {length} tokens for "
        "{purpose}: lower length or bring more rows.",
        "layers_not_quantized": "model: layers of a {family} model are not made of norms and q, "
        "k, v, o, gate, up and down projections as Llama's are: quantize a model of the Llama, "
        "Qwen, Mistral, Gemma or InternLM families.",
        "not_quantizable": "model: {model} cannot be quantized: {why}.",
        "not_text_alone": "{family} models are more than one of text, and of such are quantized "
        "{families}",
        "quantized_already": "it is quantized already; take the model that it was made of",
        "no_safetensors": "there is no .safetensors file",
        "gguf_unreadable": "{file} is no GGUF file: {error}",
        "gguf_of_other_kind": "{file} holds a {kind} model; only the llama architecture can be "
        "imported",
        "gguf_lacks_tensor": "the GGUF file has no tensor for {tensor}: it is incomplete",
        "gguf_does_not_say": "the GGUF file does not say {field}: it is incomplete",
        "gguf_has_more": "its GGUF file has {tensor}, which a model of its kind has not",
        "ggufs_are_several": "{folder} has several GGUF files ({names}); give the path of one",
        "no_layers": "it has no list of layers ({family})",
        "tensor_missing": "its files lack {tensor}",
        "weights_unreadable": "its weights cannot be read ({error})",
        "no_group_size": "model: {width} inputs of a layer divide by none of 128, 64 and 32: set "
        "method to smoothquant or int8.",
        "group_size_unfit": "group_size: {width} inputs of a layer do not divide by {size}: leave "
        "group_size out, or take a smaller one.",
        "group_size_of_4_bits": "group_size: {method} has one scale for each output: leave "
        "group_size out, or set method to awq, gptq or rtn",
        "alpha_is_smoothquants": "alpha: it is SmoothQuant's: leave it out, or set method to "
        "smoothquant",
        "quality_low": "model: {model}, in {scheme}, agrees with its base on {found} of tokens and "
        "least_agreement asks for {least}: lower least_agreement, set on_low_agreement to warn, "
        "or serve its base.",
        "quality_unknown": "model: {model} is quantized and has no report card: lower "
        "least_agreement, set on_low_agreement to warn, or serve its base.",
        "quality_unreadable": "model: {model} has a report card that cannot be read: lower "
        "least_agreement, set on_low_agreement to warn, or serve its base.",
        "quality_of_others": "model: {model} has a report card of other weights: lower "
        "least_agreement, set on_low_agreement to warn, or serve its base.",
        "precision_unfit": "precision: fp8 is for {families}: take bf16.",
        "precision_of_floats": "precision: fp8 rounds models in floats, and {model} is held in "
        "{held_in}: take bf16.",
        "kv_precision_unfit": "kv_precision: {wanted} is for {families}: set it to full.",
        "tensor_parallel_unfit": "tensor_parallel: it is for {families}: leave it out.",
        "tensor_parallel_world": "tensor_parallel: it asks for {wanted} processes and there are "
        "{there}: set it to 1, or serve with `python -m engine serve`, which starts them.",
        "tensor_parallel_gpus": "tensor_parallel: it asks for {wanted} GPUs and the run has "
        "{there}: lower it, or take a flavor with as many.",
        "setting_elsewhere": "{field}: it is the other server's affair: leave it out, or change "
        "backend",
        "setting_unknown": "{field}: LMDeploy has no such setting: leave it out, or change backend",
        "lmdeploy_precision": "precision: LMDeploy has no {wanted}: take bf16, or change backend",
        "batch_invariance_unfit": "is_batch_invariant: it is for {families}: leave it out.",
        "no_room_for_contexts": "kv_memory_bytes: {left} bytes are left for contexts, and the "
        "shortest of use take {least}: give more memory, or take a smaller model.",
        "adapters_fill_slots": "adapters: {num} fill every slot; name fewer.",
        "grpc_port_taken": "{address} cannot be taken for gRPC; choose another port.",
        "lmdeploy_unnamed": "backend: lmdeploy needs its environment: make it with `python -m "
        "engine lmdeploy install DIR` and name it with --lmdeploy DIR.",
        "lmdeploy_missing": "{folder} has no bin/lmdeploy: make it with `python -m engine lmdeploy "
        "install {again}`.",
        "lmdeploy_unknown": "{program} is no LMDeploy that we know: {why}; install {version} "
        "beside it.",
        "lmdeploy_unrunnable": "{program} cannot be run: {error}.",
        "lmdeploy_lacks": "This LMDeploy has no {flag}; install {version} beside it.",
        "lmdeploy_ended": "LMDeploy ended while it loaded:\n{said}",
        "lmdeploy_silent": "LMDeploy did not answer within {seconds} s:\n{said}",
        "server_not_allowed": "url: this node asks no server at {url}; ask its administrator to "
        "add it to ATHANOR_MODEL_SERVERS.",
        "url_no_address": "url: {url} is no address: {error}.",
        "url_refused": "url: {url}: {said}",
        "tensor_parallel_wide": "tensor_parallel: {error} among {world} devices; take fewer of "
        "them.",
        "tensor_parallel_uneven": "tensor_parallel: the model's {name} of {size} cannot be divided "
        "among {world} devices; take a number that divides it.",
        "not_servable": "model: {model} cannot be served: {why}.",
        "no_layer_to_adapt": "this base has no linear layer named {names} to adapt",
        "odd_adapter_weight": "adapter_model.safetensors has {what} weight {name}",
        "adapter_of_another": "{name} has the shape {shapes}: it was trained on another base",
        "adapter_no_floats": "{name} is {dtype}, which is no number of an adapter",
        "step_too_small": "max_batch_tokens is {most} and max_running {running}: raise the first "
        "above the second, or lower the second.",
        "url_with_remote": "url goes with backend: remote, and that needs it; set both or none",
    }
)
