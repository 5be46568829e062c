"""The program that reads Parquet for the studio: `python -m studio.core.parquet_child FD BYTES`.

Arrow reads a stranger's file in native code, which a wrong byte can bring down and a few bytes can
fill the memory of. So it does that here: a process with nothing but one socket, through which it
asks for the file's bytes and answers with rows. `studio.core.parquet` is its other end.
"""

import io
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import msgpack
import pyarrow as pa
import pyarrow.parquet as pq

_MAGIC = b"PAR1"
_MOST_FOOTER = 32 * 2**20
_MOST_COLUMNS = 500
_MOST_GROUPS = 10_000
_BATCH_ROWS = 16
_READ_AHEAD = 2**16
_MOST_ROWS_SENT = 256
_MOST_BYTES_SENT = 2**18
_LONGEST_S = 60  # whoever asked has gone long before
OTHER = 1
"""The type of a msgpack extension that is the text of what is neither number, text nor bytes."""

Row = dict[str, Any]


class _NoBytes(Exception):
    """The other end gives no bytes any more."""


class _AskedFile(io.RawIOBase):
    """A file of which the other end of the socket has the bytes."""

    def __init__(self, line: Connection, size: int) -> None:
        self._line, self._size, self._at = line, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self._at = max(offset + (0, self._at, self._size)[whence], 0)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self._size - self._at)
        if wanted <= 0:
            return 0
        _send(self._line, {"read": [self._at, wanted]})
        piece = self._line.recv_bytes(wanted)
        if not piece:
            raise _NoBytes
        view[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


class _Table:
    """One open file and, once rows are asked for, where they stand."""

    def __init__(self, file: _AskedFile, size: int) -> None:
        _check_footer(file, size)
        # Statistics and names that claim to be huge are refused by the reader itself.
        self._parquet = pq.ParquetFile(
            file,
            pre_buffer=False,
            buffer_size=_READ_AHEAD,
            thrift_string_size_limit=_MOST_FOOTER,
            thrift_container_size_limit=2**20,
        )
        self._metadata = self._parquet.metadata
        self._schema = self._parquet.schema_arrow
        self._rows: Iterator[Row] = iter(())
        self._num_sent = 1
        if len(self._schema) > _MOST_COLUMNS:
            raise ValueError(f"it has more than {_MOST_COLUMNS} columns")

    def tell(self) -> dict[str, Any]:
        columns = [[str(field.name), str(field.type)[:200]] for field in self._schema]
        return {"num_rows": self._metadata.num_rows, "columns": columns}

    def go_to(self, offset: int) -> None:
        self._rows, self._num_sent = self._iter_rows(offset), 1

    def take(self) -> tuple[list[bytes], bool]:
        """Return some rows, packed, and whether the bytes gave out; none at the end.

        More each time: of a page few are wanted, of a search all.
        """
        self._num_sent = min(2 * self._num_sent, _MOST_ROWS_SENT)
        rows: list[bytes] = []
        num_bytes = 0
        try:
            for row in self._rows:
                rows.append(_pack(row))
                num_bytes += len(rows[-1])
                if len(rows) == self._num_sent or num_bytes >= _MOST_BYTES_SENT:
                    break
        except _NoBytes:
            return rows, True
        return rows, False

    def tell_columns(self) -> dict[str, dict[str, Any]]:
        """Return what the footer alone knows of flat columns: nulls, least and greatest."""
        told: dict[str, dict[str, Any]] = {}
        for group in range(min(self._metadata.num_row_groups, _MOST_GROUPS)):
            row_group = self._metadata.row_group(group)
            for index in range(row_group.num_columns):
                chunk = row_group.column(index)
                if "." not in chunk.path_in_schema:
                    _add(told.setdefault(chunk.path_in_schema, {"num_null": 0}), chunk)
        return told

    def _iter_rows(self, offset: int) -> Iterator[Row]:
        """Yield rows from `offset` on, reading only the row groups they lie in."""
        for group in range(self._metadata.num_row_groups):
            length = self._metadata.row_group(group).num_rows
            if offset >= length:
                offset -= length
                continue
            for batch in self._parquet.iter_batches(
                _BATCH_ROWS, row_groups=[group], use_threads=False
            ):
                if offset >= batch.num_rows:
                    offset -= batch.num_rows
                    continue
                yield from batch.slice(offset).to_pylist()
                offset = 0


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


def _check_footer(file: _AskedFile, size: int) -> None:
    file.seek(max(size - 8, 0))
    tail = file.read(8) or b""
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > size:
        raise ValueError("it does not end as Parquet does")
    if length > _MOST_FOOTER:
        raise ValueError(f"its footer has {length} bytes")
    file.seek(0)


def _answer(line: Connection) -> None:
    """Answer until the other end is gone. A wrong file is told in a few words and no fault here."""
    table: _Table | None = None
    while True:
        wish = msgpack.unpackb(line.recv_bytes())
        signal.alarm(_LONGEST_S)
        try:
            if wish["do"] == "open":
                table = _Table(_AskedFile(line, wish["size"]), wish["size"])
            assert table is not None
            packed = _pack(_do(wish, table))
        except EOFError:
            raise
        except _NoBytes:
            packed = _pack({"is_over": True})
        except MemoryError:
            packed = _pack({"bad": "it would unpack to more than there is memory for"})
        except (pa.ArrowException, OSError, ValueError, TypeError, OverflowError) as error:
            said = str(error).strip().splitlines()
            packed = _pack({"bad": (said[0] if said else "it is broken")[:200]})
        line.send_bytes(packed)
        signal.alarm(0)


def _do(wish: dict[str, Any], table: _Table) -> dict[str, Any]:
    if wish["do"] == "open":
        return table.tell()
    if wish["do"] == "columns":
        return {"columns": table.tell_columns()}
    if wish["do"] == "go_to":
        table.go_to(wish["offset"])
    rows, is_over = table.take()
    return {"rows": rows, "is_over": is_over}


def _send(line: Connection, message: dict[str, Any]) -> None:
    line.send_bytes(_pack(message))


def _pack(message: dict[str, Any]) -> bytes:
    packed: bytes = msgpack.packb(message, default=_pack_other, unicode_errors="replace")
    return packed


def _pack_other(value: Any) -> Any:
    if isinstance(value, int):
        return str(value)  # of more than 64 bits
    return msgpack.ExtType(OTHER, str(value).encode("utf-8", "replace"))


def _be_small(most_memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (most_memory, most_memory))
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (0, 0))
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


if __name__ == "__main__":
    _be_small(int(sys.argv[2]))
    with suppress(EOFError, BrokenPipeError):
        _answer(Connection(int(sys.argv[1])))
