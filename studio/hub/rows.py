"""Pages of a dataset's rows, good and bad, without reading the whole file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO

from engine.specs.formats import FormatName, read_row
from engine.specs.messages import parse_object
from engine.specs.problems import RowProblem
from studio.hub.content import open_blob
from studio.hub.models import Blob
from studio.hub.reports import find_mark, get_report, iter_rows

_MAX_RAW = 4000  # characters of a row that is shown as it is
_MAX_PAGE_BYTES = 8 * 2**20


@dataclass(frozen=True)
class Row:
    """One line of the file: an object, or what stands there instead."""

    line: int
    row: dict[str, Any] | None
    raw: str | None
    problems: list[RowProblem]


@dataclass(frozen=True)
class RowsPage:
    """Some rows of all that match."""

    total: int
    offset: int
    rows: list[Row] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        """Return the names in the rows, in the order they come."""
        return list(dict.fromkeys(name for row in self.rows for name in row.row or {}))


def read_rows(blob: Blob, *, offset: int, limit: int, search: str = "") -> RowsPage:
    """Return rows from `offset` on; a search reads the whole file, else only the page is read."""
    report = get_report(blob)
    name: FormatName = report.body["format"]
    with open_blob(blob) as file:
        if search:
            return _search(file, search.casefold(), name, slice(offset, offset + limit))
        start, line, marked = find_mark(report, offset)
        file.seek(start)
        wanted = islice(_filled(file, line), offset - marked, offset - marked + limit)
        return RowsPage(report.body["num_rows"], offset, _show_all(wanted, name))


def _filled(file: BinaryIO, line: int = 1) -> Iterator[tuple[int, bytes]]:
    for _, number, text in iter_rows(file, line=line):
        if text.strip():
            yield number, text


def _search(file: BinaryIO, wanted: str, name: FormatName, part: slice) -> RowsPage:
    total = 0
    found = []
    for number, text in _filled(file):
        if wanted not in _searchable(text):
            continue
        if part.start <= total < part.stop:
            found.append((number, text))
        total += 1
    return RowsPage(total, part.start, _show_all(iter(found), name))


def _searchable(text: bytes) -> str:
    """Return a row as people read it: `\\u4f60` is a character, not six."""
    if b"\\u" in text:
        try:
            return json.dumps(json.loads(text), ensure_ascii=False).casefold()
        except (ValueError, RecursionError):
            pass
    return text.decode("utf-8", "replace").casefold()


def _show_all(lines: Iterator[tuple[int, bytes]], name: FormatName) -> list[Row]:
    rows: list[Row] = []
    num_bytes = 0
    for number, text in lines:
        num_bytes += len(text)
        if rows and num_bytes > _MAX_PAGE_BYTES:
            break
        rows.append(_show(number, text, name))
    return rows


def _show(number: int, text: bytes, name: FormatName) -> Row:
    row, problems = parse_object(text, number)
    if not problems:
        _, problems = read_row(row, name, number)
    if row is None or not _is_sendable(row):
        return Row(number, None, text.decode("utf-8", "replace")[:_MAX_RAW], problems)
    return Row(number, row, None, problems)


def _is_sendable(row: dict[str, Any]) -> bool:
    """Half of a surrogate pair is JSON, but no text that can be sent."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True
