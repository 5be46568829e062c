"""Which files of a dataset make which table: configs and splits, as `datasets` would find them.

Told by the card's `configs`, else by the names of files and folders.
"""

import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

FORMATS = {
    "parquet": "parquet",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "csv": "csv",
    "tsv": "csv",
    "txt": "text",
}
MEDIA = {
    **dict.fromkeys(("png", "jpg", "jpeg", "gif", "webp"), "image"),
    **dict.fromkeys(("wav", "mp3", "flac", "ogg"), "audio"),
}
FOLDER = "folder"
_SPLITS = {
    "train": "train|training",
    "validation": "validation|valid|val|dev",
    "test": "test|testing|eval|evaluation",
}
_NAMED = {
    split: re.compile(rf"(^|[/_.\-\s])({names})([/_.\-\s\d]|$)", re.IGNORECASE)
    for split, names in _SPLITS.items()
}
_MOST_CONFIGS = 200
_MOST_FILES = 1000


@dataclass
class Split:
    """The files of one split, in order; pictures and sounds are one table together."""

    name: str
    format: str = ""
    paths: list[str] = field(default_factory=list)
    num_files: int = 0


@dataclass
class Config:
    """A table of a dataset, with its splits."""

    name: str
    splits: list[Split] = field(default_factory=list)


def get_format(path: str) -> str:
    """Return how a file is read; empty for one that is not shown as a table."""
    ending = path.rpartition(".")[2].lower()
    return FOLDER if ending in MEDIA else FORMATS.get(ending, "")


def list_configs(metadata: dict[str, Any], paths: list[str]) -> list[Config]:
    """Return the configs with the files that are there."""
    data = sorted(path for path in paths if get_format(path))
    told = metadata.get("configs")
    configs = []
    for entry in told[:_MOST_CONFIGS] if isinstance(told, list) else []:
        if isinstance(entry, dict):
            name = entry.get("config_name")
            patterns = _read_patterns(entry.get("data_files"), entry.get("data_dir"))
            splits = [_make_split(split, _pick(data, globs)) for split, globs in patterns]
            configs.append(
                Config(str(name or "default")[:100], [split for split in splits if split.paths])
            )
    found = [config for config in configs if config.splits]
    if found:
        return found
    splits = _guess_splits(data)
    return [Config("default", splits)] if splits else []


def _guess_splits(data: list[str]) -> list[Split]:
    grouped: dict[str, list[str]] = {}
    for path in data:
        names = (name for name, pattern in _NAMED.items() if pattern.search(path))
        grouped.setdefault(next(names, "train"), []).append(path)
    order = [name for name in _SPLITS if name in grouped]
    return [_make_split(name, grouped[name]) for name in order]


def _make_split(name: str, paths: list[str]) -> Split:
    """A split holds one format: of tables the commonest, else media, else plain text."""
    formats = [get_format(path) for path in paths]
    best = max(sorted(set(formats)), key=lambda found: _rank(found, formats), default="")
    kept = [path for path, found in zip(paths, formats, strict=True) if found == best]
    most = len(kept) if best == FOLDER else _MOST_FILES
    return Split(name, best, kept[:most], len(kept))


def _rank(found: str, formats: list[str]) -> tuple[int, int]:
    """A note in a text file beside the data does not hide it."""
    order = {FOLDER: 1, "text": 0}
    return order.get(found, 2), formats.count(found)


def _read_patterns(files: Any, folder: Any) -> list[tuple[str, list[str]]]:
    if isinstance(folder, str) and not files:
        return [("train", [f"{folder.strip('/')}/*"])]
    if isinstance(files, dict):
        files = [{"split": split, "path": path} for split, path in files.items()]
    if isinstance(files, str) or (isinstance(files, list) and files and _is_text(files[0])):
        return [("train", _texts(files))]
    patterns: dict[str, list[str]] = {}
    for entry in files if isinstance(files, list) else []:
        if isinstance(entry, dict):
            split = str(entry.get("split") or "train")[:100]
            patterns.setdefault(split, []).extend(_texts(entry.get("path")))
    return list(patterns.items())


def _pick(data: list[str], globs: list[str]) -> list[str]:
    return [path for path in data if any(fnmatchcase(path, glob) for glob in globs)]


def _texts(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return [item.removeprefix("./")[:500] for item in items if _is_text(item)][:50]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)
