"""Which files of a dataset are read: by their endings, and by the split they are named after.

A contract module: the standard library only. Names are paths below the dataset, with `/` between
folders, so that a folder on a node and a repo of the hub are asked alike.
"""

import fnmatch
from collections.abc import Sequence
from pathlib import PurePosixPath

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv")
# Beside the data in repos of the hub, and no data.
_NO_DATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_OTHER_SPLITS = ("test", "validation", "valid", "val", "dev", "eval")


class FilesUnclear(ValueError):
    """No file, or it is open which are meant; the message is a sentence with the mend."""


def choose_files(
    names: Sequence[str], *, where: str, split: str = "", patterns: tuple[str, ...] = ()
) -> list[str]:
    """Return the data files among `names`, sorted; `where` is what they lie in, for messages.

    `patterns` are globs. Without them the files of `split` are taken; without that those of
    `train`, or all there are where none is named after a split.

    Raises:
        FilesUnclear: there are none, or it is open which are meant.
    """
    files = sorted(filter(is_data, names), key=lambda name: PurePosixPath(name).parts)
    if not files:
        raise FilesUnclear(f"there is none of {', '.join(SUFFIXES)} in {where}: add a data file.")
    if patterns:
        return _match(files, patterns)
    if split:
        found = [name for name in files if _is_split(name, (split,))]
        if not found:
            told = _tell(files)
            raise FilesUnclear(f"no file is named after split {split!r} ({told}): name files.")
        return found
    train = [name for name in files if _is_split(name, ("train",))]
    if not train and any(_is_split(name, _OTHER_SPLITS) for name in files):
        raise FilesUnclear(
            f"some files are named after other splits and none after train ({_tell(files)}): "
            "name the split or the files."
        )
    return train or files


def get_suffix(name: str) -> str:
    """Return what tells how a file is read, such as `.jsonl`; `.gz` behind it is left out."""
    return PurePosixPath(name.lower().removesuffix(".gz")).suffix


def is_data(name: str) -> bool:
    """Say whether a file holds rows, by its name; hidden ones and those beside the data do not."""
    path = PurePosixPath(name)
    is_hidden = any(part.startswith(".") for part in path.parts)
    return get_suffix(name) in SUFFIXES and path.name not in _NO_DATA and not is_hidden


def _match(files: list[str], patterns: tuple[str, ...]) -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        names = [name for name in files if fnmatch.fnmatch(name, pattern)]
        if not names:
            raise FilesUnclear(f"no file matches {pattern!r} ({_tell(files)}): mend the pattern.")
        found += [name for name in names if name not in found]
    return found


def _is_split(name: str, splits: tuple[str, ...]) -> bool:
    *folders, last = PurePosixPath(name).parts
    stem = last.partition(".")[0]
    return any(
        split in folders or stem == split or stem.startswith((f"{split}-", f"{split}_"))
        for split in splits
    )


def _tell(files: list[str]) -> str:
    return ", ".join(files[:5]) + (" ..." if len(files) > 5 else "")
