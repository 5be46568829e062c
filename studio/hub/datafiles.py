"""Rows of stored data files of every kind, as the engine reads them, within a budget.

JSON, CSV and TSV are read by the engine's own contract modules, Parquet by the studio's reader.
"""

import gzip
import io
from collections.abc import Iterator
from typing import IO, BinaryIO, cast

from engine.specs.files import get_suffix
from engine.specs.formats import FormatName
from engine.specs.json_array import iter_array
from engine.specs.messages import iter_lines
from engine.specs.problems import BrokenFile
from engine.specs.report import DatasetReport, check_rows, iter_lines_of_rows, tell_format
from engine.specs.sources import SourceFormat
from engine.specs.tables import RawRow, iter_csv, tidy_record
from studio.core.errors import BadInput
from studio.core.parquet import BadParquet, ParquetFile, ParquetLate
from studio.hub.content import open_blob
from studio.hub.models import Blob
from studio.hub.viewer.budget import Budget, BudgetSpent, MeteredFile

LINES = (".jsonl", ".ndjson")
_CHECK = Budget(most_bytes=48 * 2**20, most_s=4.0)
_GLANCE = Budget(most_bytes=4 * 2**20, most_s=1.0)
_READ_BYTES = 2**18
_FIELDS_TOLD = 8
_MOST_TOLD = 20_000


def check_beginning(blob: Blob, path: str, name: SourceFormat = "auto") -> DatasetReport:
    """Check as much of a stored file as one request may read; `name` is its rows' format.

    Raises:
        BadInput: it cannot be read as what its name says, or is in no format that we know.
    """
    return check_open_file(open_blob(blob), path, name=name, size=blob.size_bytes)


def check_open_file(
    source: BinaryIO, path: str, *, size: int, name: SourceFormat = "auto"
) -> DatasetReport:
    """Do the same to any open file, which is closed then.

    Raises:
        BadInput: as above.
    """
    with DataFile(source, path, size, _CHECK) as file:
        found, rows = tell_format(file.rows())
        if name != "auto":
            found = name
        if found is None:
            raise _no_format(path, rows)
        report = check_rows(rows, found)
        return report.model_copy(update={"share": file.share(report.num_rows)})


def tell_blob_format(blob: Blob, path: str) -> FormatName | None:
    """Return the format of a file's first rows; None for none that we know, or none readable."""
    key = (blob.sha256, get_suffix(path))
    if key not in _told:
        if len(_told) > _MOST_TOLD:
            _told.clear()
        _told[key] = _tell(blob, path)
    return _told[key]


_told: dict[tuple[str, str], FormatName | None] = {}  # contents never change


def _tell(blob: Blob, path: str) -> FormatName | None:
    try:
        with DataFile(open_blob(blob), path, blob.size_bytes, _GLANCE) as file:
            return tell_format(file.rows())[0]
    except BadInput:
        return None


class DataFile:
    """A data file that is open. Its rows end where its budget does."""

    def __init__(self, source: BinaryIO, path: str, size: int, budget: Budget) -> None:
        """Take an open file; nothing is read yet."""
        self._path, self._size = path, size
        self._budget = budget
        self._file = MeteredFile(source, budget)
        self._num_rows: int | None = None
        self.is_cut = False
        """The budget was spent before the file's end."""

    def __enter__(self) -> "DataFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def share(self, num_rows: int) -> float:
        """Return the part of the file that `num_rows` rows are."""
        if not self.is_cut:
            return 1.0
        if self._num_rows:
            return min(1.0, max(num_rows, 1) / self._num_rows)
        num_read = self._budget.most_bytes - self._file.left
        return min(1.0, max(num_read, 1) / max(self._size, 1))

    def rows(self) -> Iterator[RawRow]:
        """Yield the rows.

        Raises:
            BadInput: the file is not what its name says.
        """
        try:
            yield from self._read()
        except (BudgetSpent, ParquetLate):
            self.is_cut = True
        except BadParquet as error:
            raise _unreadable(f"{self._path} cannot be read as Parquet ({error})") from error
        except (BrokenFile, EOFError, gzip.BadGzipFile) as error:
            raise _unreadable(str(error) or f"{self._path} breaks off") from error

    def _read(self) -> Iterator[RawRow]:
        suffix = get_suffix(self._path)
        if suffix == ".parquet":
            yield from self._read_parquet()
            return
        raw: IO[bytes] = io.BufferedReader(self._file, _READ_BYTES)
        if self._path.lower().endswith(".gz"):
            raw = cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
        if suffix in (".csv", ".tsv"):
            yield from iter_csv(raw, self._path, delimiter="\t" if suffix == ".tsv" else ",")
            return
        chunks = iter(lambda: raw.read(_READ_BYTES), b"")
        first = next(chunks, b"")
        whole = _join(first, chunks)
        if suffix == ".json" and first.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"[":
            yield from iter_array(whole, self._path)
        else:
            yield from iter_lines_of_rows(iter_lines(whole))

    def _read_parquet(self) -> Iterator[RawRow]:
        ends_at = self._file.ends_at
        with ParquetFile(cast("BinaryIO", self._file), ends_at=ends_at) as parquet:
            self._num_rows = parquet.num_rows
            for number, record in enumerate(parquet.iter_rows(0), start=1):
                yield number, tidy_record(record), []


def _join(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _no_format(path: str, rows: Iterator[RawRow]) -> BadInput:
    fields = next((list(raw) for _, raw, _ in rows if isinstance(raw, dict)), [])
    told = ", ".join(str(name)[:40] for name in fields[:_FIELDS_TOLD]) or "none"
    message = (
        f"spec.dataset: the rows of {path} are in no format we know (fields: {told}); "
        "rename its columns, or name the format in a mixture."
    )
    return BadInput(
        message, field="spec.dataset", code="dataset_format_unknown", file=path, fields=told
    )


def _unreadable(what: str) -> BadInput:
    message = f"spec.dataset: {what.rstrip('.')}; mend the file and upload it again."
    return BadInput(message, field="spec.dataset", code="dataset_unreadable", detail=what)
