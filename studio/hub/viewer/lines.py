"""Rows of line files: JSONL, CSV and plain text, from anywhere a mark is known."""

import csv
import io
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO

from studio.core.errors import BadInput
from studio.hub.models import Blob, BlobReport
from studio.hub.reports import find_mark, iter_rows

Record = dict[str, Any]
_SNIFFED = 2**16
LINE = "line"
"""The column of what is no object: a line as it stands."""


def count_lines(blob: Blob) -> int | None:
    """Return how many rows a JSONL file has, where a check has counted them."""
    report = BlobReport.objects.filter(blob=blob).first()
    return report.body["num_rows"] if report else None


def iter_jsonl(file: BinaryIO, blob: Blob, offset: int) -> Iterator[Record]:
    """Yield rows from `offset` on; a line that is no JSON object comes as it stands."""
    report = BlobReport.objects.filter(blob=blob).first() if offset else None
    start, line, marked = find_mark(report, offset) if report else (0, 1, 0)
    file.seek(start)
    filled = (text for _, _, text in iter_rows(file, line=line) if text.strip())
    return map(_read_object, islice(filled, offset - marked, None))


def iter_text(file: BinaryIO, offset: int) -> Iterator[Record]:
    """Yield each line of a text."""
    lines = (text for _, _, text in iter_rows(file))
    return ({"text": _decode(text)} for text in islice(lines, offset, None))


def iter_csv(file: BinaryIO, offset: int) -> Iterator[Record]:
    """Yield rows by the names in the first line.

    Raises:
        BadInput: it is no table; the sentence says why.
    """
    head = file.read(_SNIFFED)
    file.seek(0)
    first = _decode(head).lstrip("\ufeff")
    dialect = _sniff(first)
    lines = (_decode(text) + "\n" for _, _, text in iter_rows(file))
    reader = csv.reader(lines, dialect)
    try:
        names = [name.lstrip("\ufeff") for name in next(reader, [])]
        for row in islice(reader, offset, None):
            yield {name or f"column {n + 1}": _value(row, n) for n, name in enumerate(names)}
    except csv.Error as error:
        message = f"path: this file cannot be read as CSV: {error}."
        raise BadInput(message, field="path", code="file_unreadable") from error


def _value(row: list[str], index: int) -> Any:
    if index >= len(row) or row[index] == "":
        return None
    text = row[index]
    if len(text) <= 30 and text.strip()[:1] in "-+.0123456789":
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                pass
    return text


def _sniff(text: str) -> Any:
    sample = text.splitlines()[:20]
    first = sample[0] if sample else ""
    delimiter = max(",\t;|", key=first.count)

    class Dialect(csv.excel):
        pass

    Dialect.delimiter = delimiter
    return Dialect


def _read_object(text: bytes) -> Record:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {LINE: _decode(text)}
    return value if isinstance(value, dict) else {LINE: value}


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def buffered(file: Any) -> BinaryIO:
    """Return a reader of lines over a raw file."""
    return io.BufferedReader(file, 2**16)
