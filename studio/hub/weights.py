"""Which files of a commit are its weights, and what their headers add up to."""

import json
import re
from collections import Counter

from pydantic import BaseModel, ConfigDict

from studio.hub.content import open_blob
from studio.hub.models import Blob
from studio.hub.tensors import Header, read_header

_INDEX = "model.safetensors.index.json"
_WHOLE = ("model.safetensors", "adapter_model.safetensors")
_MAX_INDEX_BYTES = 32 * 2**20
_MOST_SHARDS = 512
_MOST_PARAMS = 10**14
_PART = re.compile(r"-\d{5}-of-\d{5}(?=\.gguf$)")


class Weights(BaseModel):
    """What the headers of a model's weights add up to."""

    model_config = ConfigDict(frozen=True)

    format: str
    num_files: int
    num_params: int
    dtypes: dict[str, int]


def pick_weights(blobs: dict[str, Blob]) -> dict[str, Blob]:
    """Return the files that together are the model once: a repo may hold it in several forms.

    Those that the index of a sharded model names; else the one whole file; else every safetensors
    file at the top; else of the GGUF files, which are one model each, the first with its parts.

    Raises:
        ValueError: the index is none, or names a file that is not there.
    """
    if _INDEX in blobs:
        names = _read_index(blobs[_INDEX])
        missing = names - set(blobs)
        if missing:
            raise ValueError(f"{_INDEX} names {min(missing)[:100]}, which is not there")
    else:
        top = {path for path in blobs if "/" not in path}
        names = {path for path in top if path.endswith(".safetensors")}
        names = {path for path in _WHOLE if path in names} or names or _pick_gguf(top)
    if len(names) > _MOST_SHARDS:
        raise ValueError(f"it has more than {_MOST_SHARDS} files of weights")
    return {path: blobs[path] for path in sorted(names)}


def read_weights(blobs: dict[str, Blob]) -> Weights | None:
    """Return what a commit's weights add up to; None of a commit that has none.

    Raises:
        ValueError: a header is none, or names what cannot be there.
    """
    picked = pick_weights(blobs)
    if not picked:
        return None
    headers = [_open_header(path, blob) for path, blob in picked.items()]
    num_params = sum(header.num_params for header in headers)
    if not 0 < num_params < _MOST_PARAMS:
        raise ValueError(f"its {headers[0].format} headers name no weights that could be there")
    counted: Counter[str] = Counter()
    for header in headers:
        counted.update(header.count_by_dtype())
    return Weights(
        format=headers[0].format,
        num_files=len(headers),
        num_params=num_params,
        dtypes=dict(counted.most_common()),
    )


def _open_header(path: str, blob: Blob) -> Header:
    with open_blob(blob) as file:
        return read_header(file, path)


def _read_index(blob: Blob) -> set[str]:
    if blob.size_bytes > _MAX_INDEX_BYTES:
        raise ValueError(f"{_INDEX} has more than {_MAX_INDEX_BYTES // 2**20} MiB")
    try:
        with open_blob(blob) as file:
            index = json.loads(file.read())
    except RecursionError as error:
        raise ValueError(f"{_INDEX} is not JSON") from error
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise ValueError(f"{_INDEX} has no weight_map")
    return set(shards.values())


def _pick_gguf(top: set[str]) -> set[str]:
    files = sorted(path for path in top if path.endswith(".gguf"))
    first = {_PART.sub("", path) for path in files[:1]}
    return {path for path in files if _PART.sub("", path) in first}
