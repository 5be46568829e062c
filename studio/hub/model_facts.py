"""A model's sizes, from `config.json` and its weights' headers. No weight is ever read."""

import math
from typing import Any, BinaryIO

from engine.specs.estimate import ModelShape
from studio.core.errors import BadInput
from studio.hub.cards import ADAPTER_CONFIG, CONFIG, MAX_TEXT_BYTES, read_json
from studio.hub.content import open_blob
from studio.hub.models import Blob, Commit
from studio.hub.tensors import read_safetensors
from studio.hub.weights import Weights, read_weights

_BYTES_PER_PARAM = {"fp32": 4.0, "bf16": 2.0, "int8": 1.0, "int4": 0.5}
# What is kept with a commit, by these names.
_SHAPE, _WEIGHTS, _PROBLEM = "shape", "weights", "problem"


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
    facts = _get_facts(commit)
    if _SHAPE not in facts:
        facts = _keep(commit, _SHAPE, _read_shape(commit).model_dump())
    return ModelShape.model_validate(facts[_SHAPE])


def find_shape(commit: Commit) -> ModelShape | None:
    """Return the sizes of a base model; None for a repo that is none."""
    try:
        return read_shape(commit)
    except BadInput:
        return None


def find_weights(commit: Commit) -> Weights | None:
    """Return what a commit's weights add up to, read once; None where none can be told."""
    try:
        return _get_weights(commit)
    except (ValueError, OSError):
        return None


def predict_memory_bytes(num_params: int) -> dict[str, int]:
    """Return what the weights take in memory, by number format."""
    return {name: math.ceil(num_params * size) for name, size in _BYTES_PER_PARAM.items()}


def count_params(file: BinaryIO) -> int:
    """Count the numbers in a safetensors file from its header.

    Raises:
        ValueError: the header is none.
    """
    return read_safetensors(file).num_params


def count_commit_params(commit: Commit) -> int | None:
    """Count a commit's parameters from the headers of its weights; None where none can be told."""
    weights = find_weights(commit)
    if weights is None:
        return None
    shape = find_shape(commit)  # it counts what packed weights mean
    return shape.num_params if shape else weights.num_params


def _get_facts(commit: Commit) -> dict[str, Any]:
    facts: dict[str, Any] = commit.model_facts or {}
    return {_SHAPE: facts} if "num_params" in facts else facts  # as they were kept at first


def _keep(commit: Commit, name: str, value: Any) -> dict[str, Any]:
    commit.model_facts = _get_facts(commit) | {name: value}
    # Not saved as a row: the repo may have been deleted meanwhile, which is no fault here.
    Commit.objects.filter(pk=commit.pk).update(model_facts=commit.model_facts)
    return commit.model_facts


def _get_weights(commit: Commit) -> Weights | None:
    facts = _get_facts(commit)
    if _WEIGHTS not in facts and _PROBLEM not in facts:
        files = commit.files.select_related("blob", "blob__xet")
        try:
            found = read_weights({file.path: file.blob for file in files})
            facts = _keep(commit, _WEIGHTS, found.model_dump() if found else None)
        except ValueError as error:
            facts = _keep(commit, _PROBLEM, str(error)[:300])
    if _PROBLEM in facts:
        raise ValueError(facts[_PROBLEM])
    return Weights.model_validate(facts[_WEIGHTS]) if facts[_WEIGHTS] else None


def _read_shape(commit: Commit) -> ModelShape:
    files = {file.path: file.blob for file in commit.files.select_related("blob", "blob__xet")}
    repo_id = commit.repo.repo_id
    if ADAPTER_CONFIG in files:
        base = commit.repo.base_model or "its base model"
        raise _refusal(f"{repo_id} is an adapter; pick its base, {base}", "model_is_adapter")
    if CONFIG not in files:
        raise _refusal(f"{repo_id} has no config.json, so it is no model", "model_unknown")
    if not any(path.endswith(".safetensors") for path in files):
        raise _refusal(
            f"{repo_id} has no .safetensors file, and no other kind of weights is used",
            "model_unknown",
        )
    try:
        weights = _get_weights(commit)
        if weights is None or weights.format != "safetensors":
            raise ValueError("its weights are not at the top of the repo")
        config = read_json(read_text(files[CONFIG]))
        # Packed weights are fewer numbers than the model has.
        is_packed = isinstance(config.get("quantization_config"), dict)
        num_params = None if is_packed else weights.num_params
        return ModelShape.from_config(config, num_params=num_params)
    except (ValueError, TypeError, ArithmeticError) as error:
        raise _refusal(f"{repo_id} cannot be used: {error}", "model_unknown") from error


def _refusal(sentence: str, code: str) -> BadInput:
    return BadInput(f"spec.model: {sentence}.", field="spec.model", code=code)
