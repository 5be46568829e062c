"""Rows of Parquet files, within a budget: the footer, then only the pages of the rows shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from studio.core.errors import BadInput
from studio.core.parquet import BadParquet, ParquetFile, ParquetLate
from studio.hub.viewer.budget import BudgetSpent, MeteredFile
from studio.hub.viewer.lines import Record


class ParquetTable:
    """An open Parquet file."""

    def __init__(self, file: MeteredFile) -> None:
        """Read the footer.

        Raises:
            BadInput: it is none that can be read.
            BudgetSpent: that took too much.
        """
        with _telling():
            self._file = ParquetFile(cast(BinaryIO, file), ends_at=file.ends_at)
        self.num_rows, self.columns = self._file.num_rows, self._file.columns

    def close(self) -> None:
        """Let another file be read."""
        self._file.close()

    def iter_rows(self, offset: int) -> Iterator[Record]:
        """Yield rows from `offset` on, reading only the row groups they lie in."""
        with _telling():
            yield from self._file.iter_rows(offset)

    def tell_columns(self) -> dict[str, dict[str, Any]]:
        """Return what the footer alone knows of flat columns: nulls, least and greatest."""
        with _telling():
            return self._file.tell_columns()


@contextmanager
def _telling() -> Iterator[None]:
    """Turn what the reader cannot read into one sentence."""
    try:
        yield
    except BadParquet as error:
        message = f"path: this file cannot be shown as Parquet: {error}."
        raise BadInput(message, field="path", code="file_unreadable") from error
    except ParquetLate as error:
        raise BudgetSpent from error
