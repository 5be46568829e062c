"""A model folder's tensors, read one by one from safetensors; what they mean is not known here."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from engine.errors import EngineError
from engine.status import Reason

_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


class Checkpoint:
    """The open files of a model: each tensor is copied out of the mapped file as it is asked for.

    Copied, so that a file that its owner cuts short later ends no server.
    """

    def __init__(self, folder: Path, places: dict[str, tuple[str, Any]]) -> None:
        self._folder = folder
        self._places = places
        self._untaken = set(places)

    def has(self, name: str) -> bool:
        """Say whether there is a tensor of that name."""
        return name in self._places

    def read(self, name: str, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
        """Return a tensor on the CPU; a float is brought to `dtype`, a whole number is not.

        Raises:
            EngineError: bad_model, when it is missing, of another shape, or cannot be read.
        """
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
        """Return the shape of a tensor.

        Raises:
            EngineError: bad_model, when it is missing.
        """
        if name not in self._places:
            raise bad_model(self._folder, f"its files have no tensor {name}")
        return tuple(self._places[name][1].get_slice(name).get_shape())

    def pass_over(self, name: str) -> None:
        """Count a tensor as read that follows from others."""
        self._untaken.discard(name)

    def check_all_read(self) -> None:
        """Prove that nothing is left that would have changed the model.

        Raises:
            EngineError: bad_model, naming a tensor that nothing asked for.
        """
        left = sorted(name for name in self._untaken if not name.endswith("rotary_emb.inv_freq"))
        if left:
            more = f" and {len(left) - 1} more" if left[1:] else ""
            raise bad_model(
                self._folder, f"its files have {left[0]}{more}, which a model of its kind has not"
            )


@contextmanager
def open_checkpoint(folder: Path) -> Iterator[Checkpoint]:
    """Open the safetensors of a folder, one file or several with an index.

    Raises:
        EngineError: bad_model, when a file is missing or no whole safetensors file.
    """
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
        yield Checkpoint(folder, places)


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
