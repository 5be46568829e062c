"""A model folder's tensors, read one by one; what they mean is not known here."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engine.errors import EngineError
from engine.models.gguf import GGUF_NAME
from engine.models.gguf_file import GgufFile, Grid
from engine.status import Reason

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


class Checkpoint(Protocol):
    """The open files of a model.

    Every method but `has` raises EngineError, bad_model, when a tensor is missing, of another shape
    than the one asked for, or cannot be read.
    """

    def has(self, name: str) -> bool:
        """Say whether there is a tensor of that name."""
        ...

    def read(self, name: str, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
        """Return a tensor on the CPU; a float is brought to `dtype`, a whole number is not."""
        ...

    def read_grid(self, name: str, shape: tuple[int, int]) -> Grid | None:
        """Return a matrix that its file holds on 4-bit levels, or None where it is no such one."""
        ...

    def get_shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        ...

    def pass_over(self, name: str) -> None:
        """Count a tensor as read that follows from others."""
        ...

    def pass_over_part(self, prefix: str) -> None:
        """Count all tensors as read whose names start so: a part that is not served."""
        ...

    def check_all_read(self) -> None:
        """Prove that nothing is left that would have changed the model."""
        ...


class _Safetensors:
    """Of safetensors: each tensor is copied out of the mapped file as it is asked for.

    Copied, so that a file that its owner cuts short later ends no server.
    """

    def __init__(self, folder: Path, places: dict[str, tuple[str, Any]]) -> None:
        self._folder = folder
        self._places = places
        self._untaken = set(places)

    def has(self, name: str) -> bool:
        return name in self._places

    def read(self, name: str, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
        found = self.get_shape(name)
        file_name, file = self._places[name]
        if found != shape:
            raise bad_model(
                self._folder, f"{name} has the shape {found}, its config.json says {shape}"
            )
        try:
            tensor: Tensor = file.get_tensor(name)
        except SafetensorError as error:
            raise bad_model(self._folder, f"{file_name} cannot be read ({error})") from error
        self._untaken.discard(name)
        wanted = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        return tensor.to(wanted, copy=True)

    def get_shape(self, name: str) -> tuple[int, ...]:
        if name not in self._places:
            raise bad_model(self._folder, f"its files have no tensor {name}")
        return tuple(self._places[name][1].get_slice(name).get_shape())

    def read_grid(self, name: str, shape: tuple[int, int]) -> Grid | None:
        return None  # quantized layers are several tensors there (`linears`)

    def pass_over(self, name: str) -> None:
        self._untaken.discard(name)

    def pass_over_part(self, prefix: str) -> None:
        self._untaken = {name for name in self._untaken if not name.startswith(prefix)}

    def check_all_read(self) -> None:
        left = sorted(name for name in self._untaken if not name.endswith("rotary_emb.inv_freq"))
        if left:
            more = f" and {len(left) - 1} more" if left[1:] else ""
            raise bad_model(
                self._folder, f"its files have {left[0]}{more}, which a model of its kind has not"
            )


class _Gguf:
    """Of a GGUF file, under the names of transformers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._file = GgufFile(folder / GGUF_NAME)
        except ValueError as error:
            raise bad_model(folder, str(error)) from error

    def has(self, name: str) -> bool:
        return self._file.has(name)

    def read(self, name: str, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
        self._check(name, shape)
        return self._file.read(name).to(dtype or torch.float32)

    def read_grid(self, name: str, shape: tuple[int, int]) -> Grid | None:
        self._check(name, shape)
        return self._file.read_grid(name)

    def get_shape(self, name: str) -> tuple[int, ...]:
        try:
            return self._file.get_shape(name)
        except ValueError as error:
            raise bad_model(self._folder, str(error)) from error

    def pass_over(self, name: str) -> None:
        pass  # a tied head is not in such a file

    def pass_over_part(self, prefix: str) -> None:
        pass  # what a model sees with comes in a file of its own

    def check_all_read(self) -> None:
        if left := self._file.list_unread():
            raise bad_model(
                self._folder, f"its GGUF file has {left[0]}, which a model of its kind has not"
            )

    def _check(self, name: str, shape: tuple[int, ...]) -> None:
        if (found := self.get_shape(name)) != shape:
            raise bad_model(
                self._folder, f"{name} has the shape {found}, its metadata says {shape}"
            )


@contextmanager
def open_checkpoint(folder: Path) -> Iterator[Checkpoint]:
    """Open a folder's safetensors, one file or several with an index, or its described GGUF file.

    Raises:
        EngineError: bad_model, when a file is missing or not whole.
    """
    if (folder / GGUF_NAME).is_file():
        yield _Gguf(folder)
        return
    with ExitStack() as stack:
        places: dict[str, tuple[str, Any]] = {}
        for file_name, names in _list_files(folder).items():
            try:
                file = stack.enter_context(safe_open(folder / file_name, framework="pt"))
            except (OSError, SafetensorError) as error:
                raise bad_model(folder, f"{file_name} cannot be read ({error})") from error
            held = set(file.keys())
            for name in held if names is None else names:
                if name not in held:
                    raise bad_model(folder, f"{file_name} has no {name}, which its index says")
                places[name] = (file_name, file)
        yield _Safetensors(folder, places)


def bad_model(folder: Path, what: str) -> EngineError:
    """Return the refusal of a model folder."""
    return EngineError(Reason.BAD_MODEL, f"model: {folder.name} cannot be served: {what}.")


def _list_files(folder: Path) -> dict[str, list[str] | None]:
    """Return the files with the names of their tensors; None is all that are in it."""
    if (folder / _WHOLE).is_file():
        return {_WHOLE: None}
    try:
        index = json.loads((folder / _INDEX).read_bytes())
        pairs = list(index["weight_map"].items())
    except FileNotFoundError as error:
        raise bad_model(folder, f"it has no {_WHOLE}; save it as safetensors") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise bad_model(folder, f"{_INDEX} cannot be read ({error})") from error
    files: dict[str, list[str] | None] = {}
    for name, file_name in pairs:
        if not isinstance(file_name, str) or Path(file_name).name != file_name:
            raise bad_model(folder, f"{_INDEX} names {file_name!r}, which is no file beside it")
        known = files.setdefault(file_name, [])
        assert known is not None
        known.append(name)
    return files
