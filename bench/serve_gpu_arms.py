"""One arm of bench/serve_gpu.py: an engine that writes tokens of random models, measured.

    python -m bench.serve_gpu_arms ARM FOLDER LOAD

LOAD is the JSON of a `Load`. The last line is one JSON object: by number of streams the time of a
step, in seconds. LMDeploy's arm runs by its own Python, which has nothing of this repository's
libraries.
"""

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

_LETTERS = "abcdefghijklmnopqrstuvwxyz"  # each one token of the folders' tokenizer


@dataclass(frozen=True)
class Load:
    """What an arm is asked for."""

    streams: tuple[int, ...]
    num_prompt: int
    """Tokens of each prompt."""
    num_tokens: int
    """Steps that are timed: tokens of each answer after its first."""
    is_cpu: bool = False

    @property
    def context(self) -> int:
        """Tokens of a prompt and its answer."""
        return self.num_prompt + self.num_tokens + 1


class Engine(Protocol):
    """What an arm has to do."""

    def write(self, prompts: Sequence[str], num_tokens: int) -> list[int]:
        """Go on with each prompt by exactly so many tokens, all at once; return how many each
        got."""
        ...


def main() -> None:
    arm, folder, text = sys.argv[1:4]
    told = json.loads(text)
    load = Load(**told | {"streams": tuple(told["streams"])})
    engine = open_engine(arm, Path(folder), load)
    print(json.dumps({"step_s": measure(engine, load), "device": find_device(load)}), flush=True)


def open_engine(arm: str, folder: Path, load: Load) -> Engine:
    if arm == "lmdeploy":
        return LmDeploy(folder, load)
    if arm == "generate-batch":
        return GenerateBatch(folder, load)
    return Ours(folder, load, precision="fp8" if arm == "ours-fp8" else "bf16")


def measure(engine: Engine, load: Load) -> dict[int, float]:
    """Return the time of a step by number of streams.

    It is the difference of a long and a short call with prompts of the same length: what reading
    prompts takes is in both. The first call of each number captures graphs and is not counted.
    """
    found: dict[int, float] = {}
    for number in load.streams:
        time_of(engine, load, number, 2, seed=1)
        short = time_of(engine, load, number, 1, seed=2)
        found[number] = (
            time_of(engine, load, number, 1 + load.num_tokens, seed=3) - short
        ) / load.num_tokens
    return found


def time_of(engine: Engine, load: Load, number: int, num_tokens: int, *, seed: int) -> float:
    prompts = [draw(load.num_prompt, 1000 * seed + index) for index in range(number)]
    began = time.perf_counter()
    counts = engine.write(prompts, num_tokens)
    took = time.perf_counter() - began
    assert counts == [num_tokens] * number, f"answers of {counts} tokens, not {num_tokens}"
    return took


def draw(length: int, seed: int) -> str:
    """Return a text that no other seed begins with, so that no cache has it."""
    state, letters = 7919 * (seed + 1), []
    for _ in range(length):
        state = (1103515245 * state + 12345) % 2**31
        letters.append(_LETTERS[state // 65536 % len(_LETTERS)])
    return "".join(letters)


def find_device(load: Load) -> str:
    if load.is_cpu:
        return "cpu"
    import torch

    return str(torch.cuda.get_device_name(0))


class Ours:
    """The native backend, whole: its queue, its scheduler, its sampling."""

    def __init__(self, folder: Path, load: Load, *, precision: str) -> None:
        from engine.emitter import Emitter
        from engine.serve.native import open_native
        from engine.specs import Placement, ServeSpec

        most = max(load.streams)
        spec = ServeSpec(
            model=str(folder),
            precision=precision,
            max_context=max(64, load.context),
            max_running=most,
            max_waiting=most,
            max_batch_tokens=max(8192, most + 1),
            has_prefix_cache=False,
        )
        devices = () if load.is_cpu else (0,)
        placement = Placement(run_dir=Path(tempfile.mkdtemp()), devices=devices)
        self._name = spec.model
        self._backend = open_native(spec, placement, Emitter())

    def write(self, prompts: Sequence[str], num_tokens: int) -> list[int]:
        import queue

        from engine.serve.backend import Piece, Sampling, TextRequest

        ended: queue.Queue[Piece] = queue.Queue()
        sampling = Sampling(max_tokens=num_tokens, temperature=0, ignores_end=True)

        def hear(piece: Piece) -> None:
            if piece.finish:
                ended.put(piece)

        for prompt in prompts:
            request = TextRequest(model=self._name, prompt=prompt, sampling=sampling)
            self._backend.submit(request, hear)
        return [ended.get(timeout=600).num_tokens for _ in prompts]


class GenerateBatch:
    """transformers' continuous batching."""

    def __init__(self, folder: Path, load: Load) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._torch = torch
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        self._model: Any = model.to("cpu" if load.is_cpu else "cuda").eval()
        # By itself it fills all memory with places for contexts, of a tiny model too many.
        self._bounds = {"num_blocks": 64, "max_batch_tokens": 256} if load.is_cpu else {}

    def write(self, prompts: Sequence[str], num_tokens: int) -> list[int]:
        from transformers import ContinuousBatchingConfig, GenerationConfig

        config = GenerationConfig(
            max_new_tokens=num_tokens, do_sample=False, eos_token_id=-1, pad_token_id=0
        )
        bounds = ContinuousBatchingConfig(**self._bounds)
        inputs = [list(self._tokenizer(prompt)["input_ids"]) for prompt in prompts]
        with self._torch.no_grad():  # it refuses inference mode
            done = self._model.generate_batch(
                inputs=inputs, generation_config=config, continuous_batching_config=bounds
            )
        return [len(each.generated_tokens) for each in done.values()]


class LmDeploy:
    """LMDeploy's PyTorch engine, by its public pipeline."""

    def __init__(self, folder: Path, load: Load) -> None:
        from lmdeploy import PytorchEngineConfig, pipeline

        config = PytorchEngineConfig(
            dtype="bfloat16",
            max_batch_size=max(load.streams),
            session_len=load.context + 1,  # it wants one more than a prompt and its answer
        )
        self._pipe = pipeline(str(folder), backend_config=config)

    def write(self, prompts: Sequence[str], num_tokens: int) -> list[int]:
        from lmdeploy import GenerationConfig

        config = GenerationConfig(max_new_tokens=num_tokens, ignore_eos=True, do_sample=False)
        done = self._pipe.infer(list(prompts), gen_config=config, do_preprocess=False)
        return [each.generate_token_len for each in done]


if __name__ == "__main__":
    main()
