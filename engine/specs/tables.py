"""Rows of tables: CSV and TSV as they are read, and what their cells and Parquet's hold.

A contract module: the standard library only. Parquet itself is read by whoever has a reader of it.
"""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, Any

from engine.specs.messages import MAX_LINE_BYTES
from engine.specs.problems import BrokenFile, RowProblem, make_problem

RawRow = tuple[int, Any, list[RowProblem]]
"""Number in the file from 1, the value there, and what keeps it from being read at all."""
# Columns that CSV, and often Parquet, can only hold as JSON.
_PACKED = ("messages", "conversations", "history", "tools", "chat", "prompt", "chosen", "rejected")


def iter_csv(file: IO[bytes], name: str, *, delimiter: str) -> Iterator[RawRow]:
    """Yield the rows of an open file, which stays open; `name` is the file's, for messages.

    Raises:
        BrokenFile: its first line names no columns.
    """
    csv.field_size_limit(MAX_LINE_BYTES)
    text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        header = next(_iter_cells(reader), None)
        if header is None:
            return
        _, names, problems = header
        if problems or len(set(names)) < len(names) or any(map(_has_escapes, names)):
            raise BrokenFile(f"the first line of {name} has no clear column names: write them.")
        for number, cells, found in _iter_cells(reader):
            row = None if found else dict(zip(names, cells, strict=False))
            problems = found or list(_check_cells(names, cells, number))
            yield number, None if row is None else _tidy(row), problems
    finally:
        with suppress(ValueError):  # whoever opened the file was first
            text.detach()


def tidy_record(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of Parquet as its row: absent fields left out, packed columns read."""
    row: dict[str, Any] = _drop_nulls(record)
    return _unpack(row)


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
