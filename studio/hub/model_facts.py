"""A model's sizes, from `config.json` and its safetensors headers. No weight is ever read."""

import json
import math
from typing import Any, BinaryIO

from engine.specs.estimate import ModelShape
from studio.core.errors import BadInput
from studio.hub.cards import ADAPTER_CONFIG, CONFIG, MAX_TEXT_BYTES, read_json
from studio.hub.content import open_blob
from studio.hub.models import Blob, Commit

_MAX_HEADER_BYTES = 64 * 2**20
_MOST_PARAMS = 10**14
_MOST_SHARDS = 512
_BYTES_PER_PARAM = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0, "int4": 0.5}


def read_text(blob: Blob) -> str | None:
    """Return a short UTF-8 file; None for any other."""
    if blob.size_bytes > MAX_TEXT_BYTES:
        return None
    with open_blob(blob) as file:
        try:
            return file.read().decode()
        except UnicodeDecodeError:
            return None


def read_shape(commit: Commit) -> ModelShape:
    """Return the sizes of a base model, read once and kept with the commit.

    Raises:
        BadInput: the repo holds no decoder that we know; the sentence says what is amiss.
    """
    if commit.model_facts is None:
        commit.model_facts = _read_shape(commit).model_dump()
        commit.save(update_fields=["model_facts"])
    return ModelShape.model_validate(commit.model_facts)


def find_shape(commit: Commit) -> ModelShape | None:
    """Return the sizes of a base model; None for a repo that is none."""
    try:
        return read_shape(commit)
    except BadInput:
        return None


def predict_memory_bytes(num_params: int) -> dict[str, int]:
    """Return what the weights take in memory, by number format."""
    return {name: math.ceil(num_params * size) for name, size in _BYTES_PER_PARAM.items()}


def count_params(file: BinaryIO) -> int:
    """Count the numbers in a safetensors file from its header.

    Format: https://github.com/huggingface/safetensors#format.

    Raises:
        ValueError: the header is none.
    """
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= _MAX_HEADER_BYTES:
        raise ValueError("it has no safetensors header")
    header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("its safetensors header is no object")
    tensors = (entry for name, entry in header.items() if name != "__metadata__")
    return sum(_count_numbers(entry) for entry in tensors)


def count_commit_params(commit: Commit) -> int | None:
    """Count a commit's parameters from the headers of its weights; None where none can be told."""
    files = commit.files.filter(path__endswith=".safetensors").exclude(path__contains="/")
    weights = [file.blob for file in files.select_related("blob", "blob__xet")[:_MOST_SHARDS]]
    try:
        num_params = sum(_count_in(blob) for blob in weights)
    except (ValueError, TypeError, ArithmeticError, RecursionError, OSError):
        return None
    return num_params if 0 < num_params < _MOST_PARAMS else None


def _count_numbers(entry: Any) -> int:
    shape = entry.get("shape") if isinstance(entry, dict) else None
    if not isinstance(shape, list) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError("its safetensors header names a tensor without a shape")
    return math.prod(shape)


def _read_shape(commit: Commit) -> ModelShape:
    files = {file.path: file.blob for file in commit.files.select_related("blob")}
    repo_id = commit.repo.repo_id
    if ADAPTER_CONFIG in files:
        base = commit.repo.base_model or "its base model"
        raise _refusal(f"{repo_id} is an adapter; pick its base, {base}", "model_is_adapter")
    if CONFIG not in files:
        raise _refusal(f"{repo_id} has no config.json, so it is no model", "model_unknown")
    weights = [blob for path, blob in files.items() if _is_weights(path)]
    if not weights:
        raise _refusal(
            f"{repo_id} has no .safetensors file, and no other kind of weights is used",
            "model_unknown",
        )
    try:
        num_params = sum(_count_in(blob) for blob in weights)
        if not 0 < num_params < _MOST_PARAMS:
            raise ValueError("its safetensors headers name no weights that could be there")
        config = read_json(read_text(files[CONFIG]))
        return ModelShape.from_config(config, num_params=num_params)
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        raise _refusal(f"{repo_id} cannot be used: {error}", "model_unknown") from error


def _is_weights(path: str) -> bool:
    return path.endswith(".safetensors") and "/" not in path


def _count_in(blob: Blob) -> int:
    with open_blob(blob) as file:
        return count_params(file)


def _refusal(sentence: str, code: str) -> BadInput:
    return BadInput(f"spec.model: {sentence}.", field="spec.model", code=code)
