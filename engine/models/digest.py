"""Tells models apart by their files, in a second whatever their size."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

_SMALL_BYTES = 16 * 2**20
_NUM_PIECES = 64
_PIECE_BYTES = 64 * 1024


def digest_model(folder: Path) -> str:
    """Return a digest of a model's content: its weights, and the small files beside them."""
    return _digest(folder, ("*.json", "*.safetensors", "*.gguf"), has_names=True)


def digest_weights(folder: Path) -> str:
    """Return a digest of a model's safetensors alone, whatever they are called and lie beside."""
    return _digest(folder, ("*.safetensors",), has_names=False)


def _digest(folder: Path, kinds: Iterable[str], *, has_names: bool) -> str:
    """Take in small files whole, and of a large one its length and 64 pieces spread evenly.

    The first piece has its header: any training changes all of them.
    """
    digest = hashlib.sha256()
    for path in sorted(each for kind in kinds for each in folder.glob(kind)):
        size = path.stat().st_size
        name = f"{path.name}\0" if has_names else ""
        digest.update(f"{name}{size}\0".encode())
        with path.open("rb") as file:
            if size <= _SMALL_BYTES:
                digest.update(file.read())
                continue
            for index in range(_NUM_PIECES):
                file.seek(index * (size - _PIECE_BYTES) // (_NUM_PIECES - 1))
                digest.update(file.read(_PIECE_BYTES))
    return digest.hexdigest()
