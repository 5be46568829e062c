"""Finds a dataset's files and streams their rows: JSONL, JSON, Parquet, CSV and TSV, in bounded memory.

A row is whatever stands there: what it should be is the business of `engine.specs.formats`.
"""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import pyarrow
import pyarrow.parquet

from engine.errors import EngineError
from engine.specs.files import SUFFIXES, FilesUnclear, choose_files, get_suffix
from engine.specs.json_array import iter_array
from engine.specs.messages import iter_lines, parse_object
from engine.specs.problems import BrokenFile, RowProblem, make_problem
from engine.specs.tables import RawRow, iter_csv, tidy_record
from engine.status import Reason

__all__ = ["RawRow", "find_files", "is_lines", "iter_raw_lines", "iter_rows"]

_READ_BYTES = 2**20
_PARQUET_ROWS = 128


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
        if get_suffix(root.name) not in SUFFIXES:
            raise _bad(f"{root.name} is no data file: give one of {', '.join(SUFFIXES)}.")
        return [root]
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    try:
        chosen = choose_files(names, where=root.name, split=split, patterns=patterns)
    except FilesUnclear as error:
        raise _bad(str(error)) from error
    return [root / name for name in chosen]


def iter_rows(path: Path, position: Position | None = None) -> Iterator[RawRow]:
    """Yield the rows of one file, blank lines left out; `position` moves as they are read.

    Raises:
        EngineError: bad_data, when the file breaks off or is not what its name says, so that what
            follows cannot be read.
    """
    suffix = get_suffix(path.name)
    at = position or Position()
    try:
        if suffix == ".parquet":
            yield from _iter_parquet(path, at)
        elif suffix in (".csv", ".tsv"):
            with _open(path) as file:
                for found in iter_csv(file, path.name, delimiter="\t" if suffix == ".tsv" else ","):
                    at.num_bytes = file.tell()
                    yield found
        elif is_array(path):
            with _open(path) as file:
                yield from iter_array(_chunks(file, at), path.name)
        else:
            for number, line in iter_raw_lines(path, at):
                row, problems = parse_object(line, number)
                yield number, row, problems
    except BrokenFile as error:
        raise _bad(str(error)) from error
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise _bad(f"{path.name} cannot be read to its end ({error}): save it again.") from error


def iter_raw_lines(path: Path, position: Position | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of each line of a JSONL file that is not blank."""
    with _open(path) as file:
        chunks = _chunks(file, position or Position())
        for number, line in enumerate(iter_lines(chunks), start=1):
            if line.strip():
                yield number, line


def is_array(path: Path) -> bool:
    """Say whether a JSON file holds one list, and not an object on each line."""
    if get_suffix(path.name) != ".json":
        return False
    with _open(path) as file:
        for chunk in _chunks(file, Position()):
            if begin := chunk.removeprefix(b"\xef\xbb\xbf").lstrip():
                return begin[:1] == b"["
    return False


def is_lines(path: Path) -> bool:
    """Say whether a file has a row on each line, so that lines may be handed out unread."""
    return get_suffix(path.name) in (".jsonl", ".ndjson", ".json") and not is_array(path)


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
        raise _bad(
            f"{path.name} is no Parquet file we can read ({told}): save it again."
        ) from error


def _list_batch(batch: Any, start: int) -> Iterator[tuple[Any, list[RowProblem]]]:
    try:
        rows = batch.to_pylist()
    except UnicodeDecodeError:
        for index in range(batch.num_rows):
            yield _read_single(batch.slice(index, 1), start + index + 1)
        return
    for row in rows:
        yield tidy_record(row), []


def _read_single(batch: Any, number: int) -> tuple[Any, list[RowProblem]]:
    row = {}
    for name in batch.schema.names:
        try:
            row[name] = batch.column(name).to_pylist()[0]
        except UnicodeDecodeError:
            return None, [make_problem(number, name, "bad_bytes")]
    return tidy_record(row), []


def _bad(message: str) -> EngineError:
    return EngineError(Reason.BAD_DATA, f"dataset: {message}")
