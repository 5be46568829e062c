"""Pages, searches and statistics of a data file, each within a budget of bytes and seconds."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from studio.core.errors import BadInput
from studio.hub.cards import CARD, read_card
from studio.hub.content import open_blob
from studio.hub.errors import FileNotThere
from studio.hub.model_facts import read_text
from studio.hub.models import Blob, BlobStatistics, Commit
from studio.hub.viewer.budget import Budget, BudgetSpent, MeteredFile
from studio.hub.viewer.cells import Cell, find_bytes, show_cell, sniff_media
from studio.hub.viewer.lines import (
    Record,
    buffered,
    count_lines,
    iter_csv,
    iter_jsonl,
    iter_text,
)
from studio.hub.viewer.parquet import ParquetTable
from studio.hub.viewer.splits import Config, get_format, list_configs
from studio.hub.viewer.statistics import describe_columns

_PAGE = Budget(most_bytes=48 * 2**20, most_s=3.0)
_SEARCH = Budget(most_bytes=96 * 2**20, most_s=2.0)
_SAMPLE = Budget(most_bytes=24 * 2**20, most_s=2.0)
_SAMPLE_ROWS = 2000
_MOST_MEDIA = 32 * 2**20
_VERSION = 1  # raise it when statistics are counted otherwise


@dataclass(frozen=True)
class ShownRow:
    """One row: where it is, and its cells in the order of the columns."""

    index: int
    cells: list[Cell]


@dataclass
class TablePage:
    """Some rows of a table."""

    columns: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    rows: list[ShownRow] = field(default_factory=list)
    total: int | None = None
    """Of all that match; None where nobody has counted."""
    has_more: bool = False
    is_partial: bool = False
    """The budget was spent before all was looked at."""
    num_seen: int = 0
    """Of a search: how many rows it looked at."""


def list_tables(commit: Commit) -> list[Config]:
    """Return a dataset's configs and splits."""
    paths = list(commit.files.values_list("path", flat=True))
    card = commit.files.filter(path=CARD).select_related("blob", "blob__xet").first()
    text = (read_text(card.blob) or "") if card else ""
    return list_configs(read_card(text).metadata, paths)


def read_page(blob: Blob, path: str, *, offset: int, limit: int, search: str = "") -> TablePage:
    """Return rows from `offset` on; of a search, of those that hold the words.

    Raises:
        BadInput: the file cannot be read as what its name says.
    """
    page = TablePage()
    with open_table(blob, path, _SEARCH if search else _PAGE) as table:
        page.total = None if search else table.num_rows
        numbered = (
            _find(table, search.casefold(), offset, page)
            if search
            else enumerate(table.rows(offset), offset)
        )
        found: list[tuple[int, Record]] = []
        try:
            found.extend(_shorten(numbered, limit))
            page.has_more = next(numbered, None) is not None
        except BudgetSpent:
            page.is_partial = page.has_more = True
        page.columns, page.types = _name_columns(table, [row for _, row in found])
    for index, row in found:
        page.rows.append(ShownRow(index, [row.get(name, Cell("null")) for name in page.columns]))
    return page


def get_statistics(blob: Blob, path: str) -> dict[str, Any]:
    """Return what the columns hold, told from the first rows; made once per content.

    Raises:
        BadInput: the file cannot be read as what its name says.
    """
    known = BlobStatistics.objects.filter(blob=blob, version=_VERSION).first()
    if known is not None:
        return dict(known.body)
    body = _make_statistics(blob, path)
    defaults = {"version": _VERSION, "body": body}
    BlobStatistics.objects.update_or_create(blob=blob, defaults=defaults)
    return body


def read_media(blob: Blob, path: str, *, row: int | None, column: str) -> tuple[bytes, str]:
    """Return a picture or a sound and its media type, proven by its first bytes.

    Raises:
        FileNotThere: there is none.
    """
    content: bytes | None
    if row is None:
        if blob.size_bytes > _MOST_MEDIA:
            raise FileNotThere(f"{path[:200]} is too large to be shown here; download it.")
        with open_blob(blob) as file:
            content = file.read(_MOST_MEDIA)
    else:
        try:
            with open_table(blob, path, _PAGE) as table:
                content = find_bytes(next(table.rows(row), {}).get(column))
        except BudgetSpent:
            content = None
    media = sniff_media(content[:16]) if content else ""
    if not content or not media:
        raise FileNotThere("There is no picture and no sound here that could be shown.")
    return content, media


class OpenTable:
    """A data file that is open, however it is written."""

    def __init__(self, file: MeteredFile, blob: Blob, path: str) -> None:
        """Read what there is to know before the first row."""
        self.format, self.blob = get_format(path), blob
        self.parquet = ParquetTable(file) if self.format == "parquet" else None
        self.file = None if self.parquet else buffered(file)
        self.num_rows: int | None = self.parquet.num_rows if self.parquet else None
        if self.format == "jsonl":
            self.num_rows = count_lines(blob)

    def close(self) -> None:
        """Let go of what reads it."""
        if self.parquet is not None:
            self.parquet.close()

    def rows(self, offset: int) -> Iterator[Record]:
        """Yield rows from `offset` on."""
        if self.parquet is not None:
            return self.parquet.iter_rows(offset)
        assert self.file is not None
        if self.format == "jsonl":
            return iter_jsonl(self.file, self.blob, offset)
        return (iter_csv if self.format == "csv" else iter_text)(self.file, offset)


@contextmanager
def open_table(blob: Blob, path: str, budget: Budget) -> Iterator[OpenTable]:
    """Open a data file with so much to spend.

    Raises:
        BadInput: it is none that is shown as a table, or what reads it cannot.
    """
    if get_format(path) in {"", "folder"}:
        message = f"path: {path[:200]} is no Parquet, JSONL, CSV or text file."
        raise BadInput(message, field="path", code="file_unreadable")
    with MeteredFile(open_blob(blob), budget) as file:
        try:
            table = OpenTable(file, blob, path)
        except BudgetSpent as error:
            message = "path: this file takes too long to open; download it instead."
            raise BadInput(message, field="path", code="file_unreadable") from error
        try:
            yield table
        finally:
            table.close()


def _make_statistics(blob: Blob, path: str) -> dict[str, Any]:
    seen: list[int] = [0]
    is_whole = True
    told: dict[str, dict[str, Any]] = {}
    with open_table(blob, path, _SAMPLE) as table:

        def sample() -> Iterator[Record]:
            nonlocal is_whole
            rows = table.rows(0)
            try:
                for row in islice(rows, _SAMPLE_ROWS):
                    seen[0] += 1
                    yield row
                is_whole = next(rows, None) is None
            except BudgetSpent:
                is_whole = False

        columns = describe_columns(sample())
        if table.parquet is not None:
            told = table.parquet.tell_columns()
        num_rows = table.num_rows
    for column in columns:
        column["whole"] = _tell_whole(told.get(column["name"]))
    total = seen[0] if is_whole else num_rows
    return {"columns": columns, "num_seen": seen[0], "is_whole": is_whole, "num_rows": total}


def _tell_whole(told: dict[str, Any] | None) -> dict[str, Any] | None:
    """What the footer says of the whole column, where every row group says it."""
    if not told or told.get("is_partial"):
        return None
    plain = {name: value for name, value in told.items() if name in {"min", "max", "num_null"}}
    return {name: value for name, value in plain.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == value and abs(value) < 2**1000


def _find(
    table: OpenTable, wanted: str, offset: int, page: TablePage
) -> Iterator[tuple[int, Record]]:
    passed = 0
    for index, row in enumerate(table.rows(0)):
        page.num_seen = index + 1
        if wanted in _searchable(row):
            if passed >= offset:
                yield index, row
            passed += 1


def _searchable(row: Record) -> str:
    texts = (value if isinstance(value, str) else _dump(value) for value in row.values())
    return "\n".join(texts).casefold()


def _dump(value: Any) -> str:
    if isinstance(value, (bytes, type(None))) or find_bytes(value) is not None:
        return ""
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (RecursionError, ValueError):
        return ""


def _shorten(rows: Iterator[tuple[int, Record]], limit: int) -> Iterator[tuple[int, Record]]:
    """Turn rows into cells as they come, so that no picture is kept."""
    for index, row in islice(rows, limit):
        yield index, {str(name): show_cell(value) for name, value in row.items()}


def _name_columns(table: OpenTable, rows: list[Record]) -> tuple[list[str], list[str]]:
    if table.parquet is not None:
        listed = table.parquet.columns
        return [name for name, _ in listed], [kind for _, kind in listed]
    kinds: dict[str, str] = {}
    for row in rows:
        for name, cell in row.items():
            if name not in kinds or kinds[name] == "null":
                kinds[name] = cell.kind
    return list(kinds), list(kinds.values())
