"""How fast the server's decoder runs a model, quantized and not, on the host that quantized it.

One stream. A model that is opened whole nowhere else in a quantization is not opened for this.
"""

import time
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import EngineError
from engine.runtime import return_memory
from engine.serve.decoder.families import read_model
from engine.serve.decoder.step import StepBatch
from engine.serve.decoder.torch_decoder import TorchDecoder
from engine.specs.quality import Speed

MOST_BYTES = 2**31  # of a model in float32
_PROMPT_TOKENS, _ANSWER_TOKENS = 128, 16
_BLOCK = 16
_NUM_BLOCKS = (_PROMPT_TOKENS + _ANSWER_TOKENS) // _BLOCK


def measure_speed(
    base: Path, quantized: Path, *, device: torch.device, name: str, num_params: int
) -> tuple[Speed | None, str]:
    """Return tokens a second of both, or None and a sentence that says why there are none."""
    if 4 * num_params > MOST_BYTES:
        return None, "The model is larger than what is opened whole while it is quantized."
    try:
        before, now = (_measure(folder, device) for folder in (base, quantized))
    except EngineError as error:
        return None, error.message
    speed = Speed(
        device=name,
        engine="native, torch",
        prefill_tokens_per_s=now[0],
        decode_tokens_per_s=now[1],
        base_prefill_tokens_per_s=before[0],
        base_decode_tokens_per_s=before[1],
    )
    return speed, ""


def _measure(folder: Path, device: torch.device) -> tuple[float, float]:
    """Return prefill and decode, tokens a second; the second of two prompts counts."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    shape, weights = read_model(folder, dtype=dtype)
    decoder = TorchDecoder(
        shape, weights, num_blocks=_NUM_BLOCKS, block_size=_BLOCK, device=device, dtype=dtype
    )
    del weights
    ids = torch.arange(_PROMPT_TOKENS, dtype=torch.int32) % shape.vocab_size
    for _ in range(2):  # the first one pays for what is made at first use
        started = time.perf_counter()
        logits = decoder.forward(_make_step(ids, 0))
        token = logits[-1:].argmax(dim=-1).to(torch.int32).cpu()
        prefill_s = time.perf_counter() - started
    started = time.perf_counter()
    for position in range(_PROMPT_TOKENS, _PROMPT_TOKENS + _ANSWER_TOKENS):
        logits = decoder.forward(_make_step(token, position))
        token = logits[-1:].argmax(dim=-1).to(torch.int32).cpu()
    decode_s = time.perf_counter() - started
    del decoder
    return_memory()
    return _PROMPT_TOKENS / prefill_s, _ANSWER_TOKENS / decode_s


def _make_step(ids_N: Tensor, start: int) -> StepBatch:
    count = len(ids_N)

    def as_int(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int32)

    return StepBatch(
        token_ids_N=ids_N,
        positions_N=as_int(list(range(start, start + count))),
        query_starts_S1=as_int([0, count]),
        context_lengths_S=as_int([start + count]),
        block_tables_SB=as_int(list(range(_NUM_BLOCKS)))[None],
        logits_rows_R=as_int([count - 1]),
        adapters_S=as_int([-1]),
    )
