"""Rows of Parquet files: the footer, then only the pages of the rows that are shown.

Format: https://parquet.apache.org/docs/file-format/. Sizes are checked before anything is unpacked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from studio.core.errors import BadInput
from studio.hub.viewer.budget import MeteredFile
from studio.hub.viewer.lines import Record
from studio.hub.viewer.pages import ColumnPages

_MAGIC = b"PAR1"
_MOST_FOOTER = 32 * 2**20
_MOST_PAGE = 32 * 2**20
_MOST_COLUMNS = 500
_BATCH_ROWS = 16
_READ_AHEAD = 2**16
# Arrow says OSError of a broken file, without a number.
_UNREADABLE = (pa.ArrowException, OSError, ValueError, TypeError, OverflowError, MemoryError)


class ParquetTable:
    """An open Parquet file."""

    def __init__(self, file: MeteredFile) -> None:
        """Read the footer.

        Raises:
            BadInput: it is none that can be read.
        """
        self.file = file
        with _refusing():
            _check_footer(file)
            # Statistics and names that claim to be huge are refused by the reader itself.
            self.parquet = pq.ParquetFile(
                file,
                pre_buffer=False,
                buffer_size=_READ_AHEAD,
                thrift_string_size_limit=_MOST_FOOTER,
                thrift_container_size_limit=2**20,
            )
            self.metadata = self.parquet.metadata
            self.schema = self.parquet.schema_arrow
        if len(self.schema) > _MOST_COLUMNS:
            raise _refusal(f"it has more than {_MOST_COLUMNS} columns")

    @property
    def num_rows(self) -> int:
        """Return how many rows the footer tells of."""
        return int(self.metadata.num_rows)

    def list_columns(self) -> list[tuple[str, str]]:
        """Return names and types."""
        return [(str(field.name), str(field.type)[:200]) for field in self.schema]

    def iter_rows(self, offset: int, columns: list[str] | None = None) -> Iterator[Record]:
        """Yield rows from `offset` on, reading only the row groups they lie in."""
        with _refusing():
            for group in range(self.metadata.num_row_groups):
                length = self.metadata.row_group(group).num_rows
                if offset >= length:
                    offset -= length
                    continue
                pages, num_read = self._open_pages(group), 0
                batches = self.parquet.iter_batches(
                    _BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False
                )
                while True:
                    num_read += _BATCH_ROWS
                    for column in pages:
                        column.look_ahead(num_read, _MOST_PAGE)
                    if (batch := next(batches, None)) is None:
                        break
                    if offset >= batch.num_rows:
                        offset -= batch.num_rows
                        continue
                    yield from batch.slice(offset).to_pylist()
                    offset = 0

    def tell_columns(self) -> dict[str, dict[str, Any]]:
        """Return what the footer alone knows of flat columns: nulls, least and greatest."""
        told: dict[str, dict[str, Any]] = {}
        with _refusing():
            for group in range(min(self.metadata.num_row_groups, 10_000)):
                row_group = self.metadata.row_group(group)
                for index in range(row_group.num_columns):
                    chunk = row_group.column(index)
                    if "." not in chunk.path_in_schema:
                        _add(told.setdefault(chunk.path_in_schema, {"num_null": 0}), chunk)
        return told

    def _open_pages(self, group: int) -> list[ColumnPages]:
        """Return the pages of a group's columns, so that none is unpacked that claims too much."""
        row_group = self.metadata.row_group(group)
        schema = self.metadata.schema
        return [
            ColumnPages(
                self.file,
                row_group.column(index),
                is_flat=schema.column(index).max_repetition_level == 0,
            )
            for index in range(row_group.num_columns)
        ]


def _add(told: dict[str, Any], chunk: Any) -> None:
    found = chunk.statistics
    if found is None or not found.has_min_max:
        told["is_partial"] = True
        return
    told["num_null"] += found.null_count or 0 if found.has_null_count else 0
    for name, pick in (("min", min), ("max", max)):
        value = getattr(found, name)
        if isinstance(value, (int, float)):
            told[name] = pick(told.get(name, value), value)


def _check_footer(file: MeteredFile) -> None:
    size = file.seek(0, 2)
    file.seek(max(size - 8, 0))
    tail = file.read(8) or b""
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > size:
        raise _refusal("it does not end as Parquet does")
    if length > _MOST_FOOTER:
        raise _refusal(f"its footer has {length} bytes")
    file.seek(0)


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn what the reader cannot read into one sentence."""
    try:
        yield
    except _UNREADABLE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the storage's own
        said = str(error).strip().splitlines()
        raise _refusal((said[0] if said else "it is broken")[:200]) from error


def _refusal(why: str) -> BadInput:
    message = f"path: this file cannot be shown as Parquet: {why}."
    return BadInput(message, field="path", code="file_unreadable")
