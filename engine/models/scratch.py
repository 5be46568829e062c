"""A model that does not exist yet: a folder of config and tokenizer, and weights from a seed.

The folder is what a published one is without its weights, so that all that reads models reads it.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerBase

from engine.errors import EngineError
from engine.models.families import register_models
from engine.specs.scratch import ScratchOptions
from engine.status import Reason

register_models()

_STD = 0.02
# What writes into the residual stream: its variance grows with each, so they begin smaller.
_OUTWARD = ("o_proj.weight", "down_proj.weight", "wo.weight", "w2.weight")
_TURN_END = "<|im_end|>"


def write_start(folder: Path, options: ScratchOptions, tokenizer: PreTrainedTokenizerBase) -> None:
    """Write a new model's config and tokenizer into a folder.

    Raises:
        EngineError: bad_spec, when the tokenizer has no token that ends a document.
    """
    if tokenizer.eos_token_id is None:
        raise EngineError(
            Reason.BAD_SPEC,
            "from_scratch.tokenizer_from: its tokenizer has no end token: take another one.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    keys = options.to_config(len(tokenizer))
    keys["rope_parameters"] = {"rope_type": "default", "rope_theta": options.rope_theta}
    keys |= {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
    # An embedding learns nothing of the token that it takes for filling, and ours ends documents.
    keys["pad_token_id"] = None
    if options.architecture == "internlm2":
        keys["bias"] = False
    config = AutoConfig.for_model(keys.pop("model_type"), **keys)
    config.save_pretrained(folder)
    tokenizer.model_max_length = options.max_positions
    tokenizer.save_pretrained(folder)


def make_start(folder: Path, *, seed: int, attention: str = "sdpa") -> Any:
    """Make the model of a folder from `write_start` in float32 on the CPU, its weights from `seed`.

    Normal with a deviation of 0.02, and of 0.02 / sqrt(2 layers) where a layer writes into the
    residual stream (GPT-2; InternLM-Train's scaled initialisation).
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(
            config, dtype=torch.float32, attn_implementation=attention, trust_remote_code=False
        )
        outward = _STD / math.sqrt(2 * config.num_hidden_layers)
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                std = outward if name.endswith(_OUTWARD) else _STD
                torch.nn.init.normal_(parameter, std=std)
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=_list_ends(folder, config)
    )
    return model.requires_grad_(False).eval()


def _list_ends(folder: Path, config: Any) -> list[int]:
    """Return what ends an answer: a document's end, and a turn's where the template has one."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    added = {token["content"]: token["id"] for token in vocabulary["added_tokens"]}
    ends = [config.eos_token_id]
    if _TURN_END in added and added[_TURN_END] not in ends:
        ends.append(added[_TURN_END])
    return ends
