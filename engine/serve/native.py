"""Opens the native backend from a spec: the base, what is said of it, and its adapters."""

import json
from pathlib import Path
from typing import Any

from engine.emitter import Emitter
from engine.hub import fetch_repo
from engine.models.digest import digest_model
from engine.models.gguf import describe_gguf, find_gguf
from engine.models.load import load_tokenizer
from engine.ranks import get_local_rank
from engine.serve.adapters import read_adapter
from engine.serve.base import open_base
from engine.serve.decoder.checkpoint import bad_model
from engine.serve.native_backend import NativeBackend, OpenedModel
from engine.serve.shelf import Adapter
from engine.specs import Placement, ServeSpec
from engine.version import read_version

__all__ = ["NativeBackend", "open_native"]

# Tokens that end a turn in the chat templates people use; a model may name fewer than it writes.
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "</s>", "<|endoftext|>")


def open_native(spec: ServeSpec, placement: Placement, emitter: Emitter) -> NativeBackend:
    """Load the base and the adapters of a spec.

    Raises:
        EngineError: bad_model, when one of them cannot be used. out_of_memory, when no context of
            use fits beside the base.
    """
    folder = _fetch_base(spec, placement, emitter)
    num_parts = 1 + len(spec.adapters)
    emitter.progress("load", 0, num_parts, unit="model")
    tokenizer = load_tokenizer(folder)
    base = open_base(folder, spec, placement)

    def fetch_adapter(ref: str) -> Adapter:
        files = read_adapter(fetch_repo(ref, "model", placement, emitter).path)
        return Adapter(base.read_lora(files), files.digest, files.size_bytes)

    model = OpenedModel(
        decoder=base.decoder,
        tokenizer=tokenizer,
        end_ids=find_end_ids(read_end_id(folder), tokenizer),
        max_positions=base.max_positions,
        engine=f"native/{read_version()}",
        device=base.device,
        quantization=base.quantization,
        arithmetic=base.arithmetic,
        digest=digest_model(folder),
    )
    backend = NativeBackend(spec, model, fetch_adapter)
    emitter.progress("load", 1, num_parts, unit="model")
    for index, ref in enumerate(spec.adapters):
        try:
            backend.load_adapter(ref, ref)
        except BaseException:
            backend.close()
            raise
        emitter.progress("load", 2 + index, num_parts, unit="model")
    return backend


def follow_first(spec: ServeSpec, placement: Placement, emitter: Emitter) -> None:
    """Hold this process's share of the base, and compute with it until the first one closes.

    Raises:
        EngineError: as `open_native`.
    """
    open_base(_fetch_base(spec, placement, emitter), spec, placement)


def _fetch_base(spec: ServeSpec, placement: Placement, emitter: Emitter) -> Path:
    """Return the base's folder; of a GGUF file one in the run's folder that describes it."""
    path = fetch_repo(spec.model, "model", placement, emitter, takes_gguf=True).path
    try:
        source = find_gguf(path)
        if source is None:
            return path
        described = placement.run_dir / f"described-{get_local_rank()}"
        describe_gguf(source, described)
    except ValueError as error:
        raise bad_model(path, str(error)) from error
    return described


def find_end_ids(configured: int | list[int] | None, tokenizer: Any) -> frozenset[int]:
    """Return every token that ends an answer: the model's, the tokenizer's, and known turn ends."""
    ids = configured if isinstance(configured, list) else [configured]
    known = [tokenizer.convert_tokens_to_ids(token) for token in _TURN_ENDS]
    ids = [*ids, *(i for i in known if i != tokenizer.unk_token_id), tokenizer.eos_token_id]
    return frozenset(token_id for token_id in ids if token_id is not None)


def read_end_id(folder: Path) -> int | list[int] | None:
    """Return what a model's own files name as the end of an answer."""
    for name in ("generation_config.json", "config.json"):
        path = folder / name
        config = json.loads(path.read_bytes()) if path.is_file() else {}
        for part in (config, config.get("text_config") or {}):  # of a model that sees as well
            if part.get("eos_token_id") is not None:
                found: int | list[int] = part["eos_token_id"]
                return found
    return None
