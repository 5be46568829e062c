"""Finds a dataset's files and streams their rows: JSONL, JSON, Parquet, CSV and TSV, in bounded memory.

A row is whatever stands there: what it should be is the business of `engine.specs.formats`.
"""

import csv
import fnmatch
import gzip
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import pyarrow
import pyarrow.parquet

from engine.data.json_array import iter_array
from engine.errors import EngineError
from engine.specs.messages import MAX_LINE_BYTES, iter_lines, parse_object
from engine.specs.problems import RowProblem, make_problem
from engine.status import Reason

RawRow = tuple[int, Any, list[RowProblem]]
"""Number in the file from 1, the value there, and what keeps it from being read at all."""
SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet", ".csv", ".tsv")
# Beside the data in repos of the hub, and no data.
_NO_DATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")
_OTHER_SPLITS = ("test", "validation", "valid", "val", "dev", "eval")
_READ_BYTES = 2**20
_PARQUET_ROWS = 128
# Columns that CSV, and often Parquet, can only hold as JSON.
_PACKED = ("messages", "conversations", "history", "tools", "chat", "prompt", "chosen", "rejected")


@dataclass
class Position:
    """How far into its file a reader has come."""

    num_bytes: int = 0


def find_files(root: Path, *, split: str = "", patterns: tuple[str, ...] = ()) -> list[Path]:
    """Return the data files of a file or folder, in the order of their names.

    `patterns` are globs below the folder. Without them the files of `split` are taken; without
    that those of `train`, or all there are where none is named after a split.

    Raises:
        EngineError: bad_data, when there are none, or it is open which are meant.
    """
    if root.is_file():
        if get_suffix(root) not in SUFFIXES:
            raise _bad(f"{root.name} is no data file: give one of {', '.join(SUFFIXES)}.")
        return [root]
    files = _list_data(root)
    if not files:
        raise _bad(f"there is none of {', '.join(SUFFIXES)} in {root.name}: add a data file.")
    if patterns:
        return _match(root, files, patterns)
    if split:
        found = [path for path in files if _is_split(root, path, (split,))]
        if not found:
            raise _bad(f"no file is named after split {split!r} ({_tell(root, files)}): name files.")
        return found
    train = [path for path in files if _is_split(root, path, ("train",))]
    if not train and any(_is_split(root, path, _OTHER_SPLITS) for path in files):
        raise _bad(
            f"some files are named after other splits and none after train ({_tell(root, files)}): "
            "name the split or the files."
        )
    return train or files


def get_suffix(path: Path) -> str:
    """Return what tells how a file is read, such as `.jsonl`; `.gz` behind it is left out."""
    return Path(path.name.lower().removesuffix(".gz")).suffix


def iter_rows(path: Path, position: Position | None = None) -> Iterator[RawRow]:
    """Yield the rows of one file, blank lines left out; `position` moves as they are read.

    Raises:
        EngineError: bad_data, when the file breaks off or is not what its name says, so that what
            follows cannot be read.
    """
    suffix = get_suffix(path)
    at = position or Position()
    try:
        if suffix == ".parquet":
            yield from _iter_parquet(path, at)
        elif suffix in (".csv", ".tsv"):
            yield from _iter_csv(path, "\t" if suffix == ".tsv" else ",", at)
        elif is_array(path):
            with _open(path) as file:
                yield from iter_array(_chunks(file, at), path.name)
        else:
            for number, line in iter_raw_lines(path, at):
                row, problems = parse_object(line, number)
                yield number, row, problems
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise _bad(f"{path.name} cannot be read to its end ({error}): save it again.") from error


def iter_raw_lines(
    path: Path, position: Position | None = None
) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of each line of a JSONL file that is not blank."""
    with _open(path) as file:
        chunks = _chunks(file, position or Position())
        for number, line in enumerate(iter_lines(chunks), start=1):
            if line.strip():
                yield number, line


def is_array(path: Path) -> bool:
    """Say whether a JSON file holds one list, and not an object on each line."""
    if get_suffix(path) != ".json":
        return False
    with _open(path) as file:
        for chunk in _chunks(file, Position()):
            if begin := chunk.removeprefix(b"\xef\xbb\xbf").lstrip():
                return begin[:1] == b"["
    return False


def is_lines(path: Path) -> bool:
    """Say whether a file has a row on each line, so that lines may be handed out unread."""
    return get_suffix(path) in (".jsonl", ".ndjson", ".json") and not is_array(path)


def _list_data(root: Path) -> list[Path]:
    return sorted(
        path
        for path in root.rglob("*")
        if path.is_file()
        and get_suffix(path) in SUFFIXES
        and path.name not in _NO_DATA
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )


def _match(root: Path, files: list[Path], patterns: tuple[str, ...]) -> list[Path]:
    found: list[Path] = []
    for pattern in patterns:
        names = [path for path in files if fnmatch.fnmatch(str(path.relative_to(root)), pattern)]
        if not names:
            raise _bad(f"no file matches {pattern!r} ({_tell(root, files)}): mend the pattern.")
        found += [path for path in names if path not in found]
    return found


def _is_split(root: Path, path: Path, splits: tuple[str, ...]) -> bool:
    *folders, name = path.relative_to(root).parts
    stem = name.partition(".")[0]
    return any(
        split in folders or stem == split or stem.startswith((f"{split}-", f"{split}_"))
        for split in splits
    )


def _tell(root: Path, files: list[Path]) -> str:
    names = [str(path.relative_to(root)) for path in files[:5]]
    return ", ".join(names) + (" ..." if len(files) > 5 else "")


def _open(path: Path) -> IO[bytes]:
    if path.name.lower().endswith(".gz"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")


def _chunks(file: IO[bytes], position: Position) -> Iterator[bytes]:
    while chunk := file.read(_READ_BYTES):
        position.num_bytes += len(chunk)
        yield chunk


def _iter_parquet(path: Path, position: Position) -> Iterator[RawRow]:
    number, num_bytes = 0, path.stat().st_size
    try:
        with pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
            total = max(1, file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=_PARQUET_ROWS):
                position.num_bytes = num_bytes * (number + batch.num_rows) // total
                for row, problems in _list_batch(batch, number):
                    number += 1
                    yield number, row, problems
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError, OSError) as error:
        told = (str(error).splitlines() or ["unknown"])[0].rstrip(".")[:200]
        raise _bad(f"{path.name} is no Parquet file we can read ({told}): save it again.") from error


def _list_batch(batch: Any, start: int) -> Iterator[tuple[Any, list[RowProblem]]]:
    try:
        rows = batch.to_pylist()
    except UnicodeDecodeError:
        for index in range(batch.num_rows):
            yield _read_single(batch.slice(index, 1), start + index + 1)
        return
    for row in rows:
        yield _unpack(_drop_nulls(row)), []


def _read_single(batch: Any, number: int) -> tuple[Any, list[RowProblem]]:
    row = {}
    for name in batch.schema.names:
        try:
            row[name] = batch.column(name).to_pylist()[0]
        except UnicodeDecodeError:
            return None, [make_problem(number, name, "bad_bytes")]
    return _unpack(_drop_nulls(row)), []


def _drop_nulls(value: Any) -> Any:
    """Take absent fields out of a row: Parquet gives each turn the fields that any of them has."""
    if isinstance(value, dict):
        return {key: _drop_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_drop_nulls(inner) for inner in value]
    return value


def _unpack(row: dict[str, Any]) -> dict[str, Any]:
    """Read the columns that hold JSON; a text that is none stays a text."""
    for name in _PACKED:
        value = row.get(name)
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
            try:
                parsed = json.loads(value)
            except (ValueError, RecursionError):
                continue
            if name not in ("prompt", "chosen", "rejected") or _is_talk(parsed):
                row[name] = parsed
    return row


def _is_talk(value: Any) -> bool:
    """Say whether JSON in an answer's cell is a conversation; code that is JSON is an answer."""
    turns = value if isinstance(value, list) else [value]
    return bool(turns) and all(
        isinstance(turn, dict) and ("role" in turn or "from" in turn) for turn in turns
    )


def _iter_csv(path: Path, delimiter: str, position: Position) -> Iterator[RawRow]:
    csv.field_size_limit(MAX_LINE_BYTES)
    with (
        _open(path) as file,
        io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="") as text,
    ):
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        header = next(_iter_cells(reader), None)
        if header is None:
            return
        _, names, problems = header
        if problems or len(set(names)) < len(names) or any(map(_has_escapes, names)):
            raise _bad(f"the first line of {path.name} has no clear column names: write them.")
        for number, cells, found in _iter_cells(reader):
            position.num_bytes = file.tell()
            row = None if found else dict(zip(names, cells, strict=False))
            problems = found or list(_check_cells(names, cells, number))
            yield number, None if row is None else _tidy(row), problems


def _iter_cells(reader: Any) -> Iterator[tuple[int, list[str], list[RowProblem]]]:
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, [], [make_problem(number, "", "bad_csv", detail=str(error)[:100])]
            continue
        if any(cell.strip() for cell in cells):
            yield number, cells, []


def _check_cells(names: list[str], cells: list[str], number: int) -> Iterator[RowProblem]:
    if len(cells) != len(names):
        yield make_problem(number, "", "bad_width", found=len(cells), wanted=len(names))
        return
    for name, cell in zip(names, cells, strict=True):
        if _has_escapes(cell):
            yield make_problem(number, name, "bad_bytes")


def _has_escapes(cell: str) -> bool:
    return not cell.isascii() and any("\udc80" <= character <= "\udcff" for character in cell)


def _tidy(row: dict[str, str]) -> dict[str, Any]:
    """Empty cells of packed columns are absent: there is no other way to leave one out."""
    return _unpack({name: cell for name, cell in row.items() if cell or name not in _PACKED})


def _bad(message: str) -> EngineError:
    return EngineError(Reason.BAD_DATA, f"dataset: {message}")
