"""Keeps stores of rendered files, by everything that decides what is in them.

The key is a hash of the file's bytes, the tokenizer with its template, and the settings. A store is
made in a folder of its own and moved into place whole, so that a kill leaves none half made. Who
wants the same store waits for whoever is making it; one that is broken is made anew.
"""

import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from engine.data.render import Renderer
from engine.data.store import VERSION, Store, StoreBroken
from engine.specs.files import get_suffix

_LOOK_EVERY_S = 0.2
_ABANDONED_AFTER_S = 86_400.0


def make_key(path: Path, format_name: str, renderer: Renderer) -> str:
    """Name what a file becomes under a renderer: 40 hex digits."""
    with path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    parts = {
        "version": VERSION,
        "content": content,
        "suffix": [get_suffix(path.name), path.suffix.lower()],
        "format": format_name,
        "max_length": renderer.max_length,
        "tokenizer": name_tokenizer(renderer.tokenizer),
        "libraries": [importlib.metadata.version(name) for name in ("transformers", "tokenizers")],
    }
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def name_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a hash of a tokenizer's vocabulary, rules, special tokens and chat template."""
    if tokenizer.is_fast:
        rules = tokenizer.backend_tokenizer.to_str()
    else:
        rules = json.dumps(sorted(tokenizer.get_vocab().items()))
    settings = {key: repr(value) for key, value in sorted(tokenizer.special_tokens_map.items())}
    template = json.dumps(tokenizer.chat_template)
    kind = type(tokenizer).__name__
    flags = [getattr(tokenizer, name, None) for name in ("add_bos_token", "add_eos_token")]
    whole = "\0".join([kind, rules, template, json.dumps(settings), repr(flags)])
    return hashlib.sha256(whole.encode()).hexdigest()


def get_store(root: Path, key: str, make: Callable[[Path], None]) -> Store:
    """Return the store of a key, having it made where there is none, or none that is whole.

    `make` is given the folder to write, which is not there yet.
    """
    root.mkdir(parents=True, exist_ok=True)
    folder = root / key
    if (found := _open_whole(folder)) is not None:
        return found
    with _alone(root / f"{key}.lock"):
        if (found := _open_whole(folder)) is not None:
            return found
        _remove_abandoned(root)
        making = root / f".{key}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
        try:
            make(making)
            return _move_into_place(making, folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)


def _open_whole(folder: Path) -> Store | None:
    if not folder.is_dir():
        return None
    try:
        return Store.open(folder)
    except StoreBroken as broken:
        print(f"The tokenized cache {folder.name} is broken ({broken}): making it anew", flush=True)
        return None


def _move_into_place(making: Path, folder: Path) -> Store:
    """Move a store to its name; a file system without locks may have let another do so first."""
    if folder.exists():
        aside = making.with_name(f"{making.name}.old")
        os.replace(folder, aside)  # who has it mapped keeps its bytes
        shutil.rmtree(aside, ignore_errors=True)
    try:
        os.rename(making, folder)
    except OSError:
        if not folder.is_dir():
            raise
    return Store.open(folder)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until nobody else holds the lock; it ends with the process, however that ends."""
    with path.open("a") as file:
        is_told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not is_told:
                    print("Waiting for another run that prepares the same data", flush=True)
                    is_told = True
                time.sleep(_LOOK_EVERY_S)
            except OSError:  # a file system without locks: both make it, the first is kept
                break
        yield


def _remove_abandoned(root: Path) -> None:
    """Remove what killed processes left half made, a day later."""
    for folder in root.glob(".*"):
        if folder.is_dir():
            last = max((path.stat().st_mtime for path in [folder, *folder.glob("*")]), default=0)
            if time.time() - last > _ABANDONED_AFTER_S:
                shutil.rmtree(folder, ignore_errors=True)
