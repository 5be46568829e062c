"""Opens a model folder: weights from safetensors only, never code that comes with them."""

from pathlib import Path
from typing import Any, Literal

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerBase

from engine.errors import EngineError
from engine.models.context import change_window
from engine.models.families import register_models
from engine.models.nf4 import quantize_base
from engine.models.tokenizer import open_tokenizer
from engine.runtime import return_memory
from engine.specs.context import ContextOptions
from engine.status import Reason

register_models()

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32, "fp8": torch.bfloat16}
"""What a base is held in, by the precision that it is computed in."""


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Open the tokenizer of a model folder.

    Raises:
        EngineError: bad_model, when there is none or it has no chat template.
    """
    tokenizer = load_bare_tokenizer(folder)
    if not tokenizer.chat_template:
        raise _bad(folder, "its tokenizer has no chat template; take an instruct model")
    return tokenizer


def load_bare_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Open the tokenizer of a model folder, with a chat template or without.

    Raises:
        EngineError: bad_model, when there is none.
    """
    try:
        return open_tokenizer(folder)
    except (OSError, ValueError) as error:
        raise _bad(folder, f"its tokenizer cannot be read ({_first_line(error)})") from error


def load_base(
    folder: Path,
    *,
    precision: str,
    device: torch.device,
    attention: str | None = "sdpa",
    quantize: Literal["nf4"] | None = None,
    context: ContextOptions | None = None,
) -> Any:
    """Open a causal language model in eval mode, frozen, on `device`.

    `attention` is a name that transformers knows or that was registered with it; None leaves the
    choice to transformers, for models that have no `sdpa`. A processor
    without bfloat16 instructions computes it many times slower than float32: there a bf16 model is
    held in float32, its weights still rounded to bfloat16, so that the numbers stay those of bf16.
    With `quantize` the layers of its blocks go to `device` one by one, each at 4 bits: only the
    CPU ever holds the model whole.

    Raises:
        EngineError: bad_model, when the folder holds no causal language model in safetensors.
    """
    model = open_model(folder, dtype=DTYPES[precision], attention=attention, context=context)
    model.requires_grad_(False)
    if quantize is not None:  # before it is widened: four bits of either are the same
        model = quantize_base(model, quantize, device=device)
    if DTYPES[precision] == torch.bfloat16 and not has_fast_bf16(device):
        model = model.float()
    model = model.to(device).eval()
    return_memory()  # of another precision, or of weights that are on a GPU now
    return model


def open_model(
    folder: Path,
    *,
    dtype: torch.dtype | str,
    attention: str | None = "sdpa",
    context: ContextOptions | None = None,
) -> Any:
    """Open a causal language model on the CPU; `dtype` "auto" is that of its files.

    Raises:
        EngineError: bad_model, when the folder holds no causal language model in safetensors.
            bad_spec, when it cannot have the window of `context`.
    """
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        change_window(config, context or ContextOptions())
        return AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=False,
            low_cpu_mem_usage=True,
        )
    except (OSError, ValueError, KeyError, SafetensorError, StrictDataclassError) as error:
        raise _bad(folder, f"it cannot be opened ({_first_line(error)})") from error


def has_fast_bf16(device: torch.device) -> bool:
    """Say whether `device` multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def pick_device(devices: tuple[int, ...]) -> torch.device:
    """Return the first GPU of a placement, or the CPU where it names none."""
    return torch.device("cuda", devices[0]) if devices else torch.device("cpu")


def _bad(folder: Path, what: str) -> EngineError:
    return EngineError(Reason.BAD_MODEL, f"model: {folder.name} is no model we can use: {what}.")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
