"""Parquet files of strangers: read by a process of its own, which may fall without harm.

Format: https://parquet.apache.org/docs/file-format/. Of a file the footer is read, and only the
pages of the rows that are asked for. The reading itself is in `studio.core.parquet_child`.
"""

import io
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, BinaryIO, NoReturn, Self

import msgpack
import structlog

log = structlog.get_logger()

MOST_MEMORY = 2**30
"""Of a reader, in bytes, libraries and all."""
_MOST_ANSWER = 256 * 2**20
_MOST_PIECE = 64 * 2**20
_MOST_READERS = 4
_MOST_FILES = 500  # of one reader: what Arrow does not give back goes with it

Row = dict[str, Any]


class BadParquet(ValueError):
    """The file cannot be read; the message says why, to follow the file's name."""


class ParquetLate(Exception):
    """The time was over before the answer came."""


@dataclass(frozen=True)
class Other:
    """A value that is neither number, text nor bytes, as the text that Arrow makes of it."""

    text: str

    def __str__(self) -> str:
        return self.text


class ParquetFile:
    """An open Parquet file. What its bytes' source raises passes through."""

    def __init__(self, file: BinaryIO, *, ends_at: float) -> None:
        """Read the footer. `ends_at` is when all must be over, by `time.monotonic`.

        Raises:
            BadParquet: it is none that can be read.
            ParquetLate: the time is over.
        """
        self._file, self._ends_at = file, ends_at
        self._reader: _Reader | None = _take_reader(ends_at)
        try:
            told = self._ask({"do": "open", "size": file.seek(0, io.SEEK_END)})
            self.num_rows = int(told["num_rows"])
            self.columns = [(str(name), str(kind)) for name, kind in told["columns"]]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another file have the reader."""
        reader, self._reader = self._reader, None
        if reader is not None:
            _give_back(reader)

    def iter_rows(self, offset: int) -> Iterator[Row]:
        """Yield rows from `offset` on, reading only the row groups they lie in.

        Raises:
            BadParquet: they cannot be read.
            ParquetLate: the time is over.
        """
        wish = {"do": "go_to", "offset": offset}
        while rows := self._ask(wish)["rows"]:
            yield from map(_unpack, rows)
            wish = {"do": "take"}

    def tell_columns(self) -> dict[str, dict[str, Any]]:
        """Return what the footer alone knows of flat columns: nulls, least and greatest."""
        told: dict[str, dict[str, Any]] = self._ask({"do": "columns"})["columns"]
        return told

    def _ask(self, wish: dict[str, Any]) -> dict[str, Any]:
        if self._reader is None:
            raise BadParquet("it is broken")
        answer = self._reader.ask(wish, self._file, self._ends_at)
        if "bad" in answer:
            raise BadParquet(str(answer["bad"]))
        return answer


class _Reader:
    """One process and the socket to it."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        program = [sys.executable, "-m", "studio.core.parquet_child"]
        with theirs:
            self._process = subprocess.Popen(
                [*program, str(theirs.fileno()), str(MOST_MEMORY)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # None of the studio's secrets, and an allocator that keeps to the limit.
                env={
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                    "ARROW_DEFAULT_MEMORY_POOL": "system",
                },
            )
        self._line = Connection(ours.detach())
        self.num_files = 0

    @property
    def is_usable(self) -> bool:
        """Whether it waits for a file."""
        return not self._line.closed and self.num_files < _MOST_FILES

    def ask(self, wish: dict[str, Any], file: BinaryIO, ends_at: float) -> dict[str, Any]:
        """Say what is wished, hand over the bytes that are asked for, and return the answer."""
        self.num_files += wish["do"] == "open"
        failure: Exception | None = None
        self._send(msgpack.packb(wish))
        while "read" in (answer := self._hear(ends_at)):
            at, length = answer["read"]
            piece = b""
            try:
                file.seek(at)
                piece = file.read(min(length, _MOST_PIECE))
            except Exception as error:
                failure = error
            self._send(piece)
        if answer.get("is_over") and not answer.get("rows"):
            raise failure or BadParquet("its bytes end too soon")
        return answer

    def end(self) -> None:
        """End the process, whatever it does."""
        self._line.close()
        self._process.kill()
        self._process.wait()

    def _hear(self, ends_at: float) -> dict[str, Any]:
        try:
            if self._line.poll(max(ends_at - time.monotonic(), 0)):
                return _unpack(self._line.recv_bytes(_MOST_ANSWER))
        except (EOFError, OSError) as error:
            self._fall(error)
        self.end()
        raise ParquetLate

    def _send(self, data: bytes) -> None:
        try:
            self._line.send_bytes(data)
        except OSError as error:
            self._fall(error)

    def _fall(self, error: Exception) -> NoReturn:
        self.end()
        log.warning("parquet_reader_fell", status=self._process.returncode)
        raise BadParquet("it is broken") from error


def _unpack(data: bytes) -> dict[str, Any]:
    """Unpack what a reader sends; with pickle a file that has taken it over would have us too."""
    unpacked: dict[str, Any] = msgpack.unpackb(data, ext_hook=_read_other, strict_map_key=False)
    return unpacked


def _read_other(kind: int, data: bytes) -> Other:
    return Other(data.decode("utf-8", "replace"))


_places = threading.BoundedSemaphore(_MOST_READERS)
_idle: list[_Reader] = []


def _take_reader(ends_at: float) -> _Reader:
    if not _places.acquire(timeout=max(ends_at - time.monotonic(), 0)):
        raise ParquetLate
    try:
        return _idle.pop()
    except IndexError:
        pass
    try:
        return _Reader()
    except BaseException:
        _places.release()
        raise


def _give_back(reader: _Reader) -> None:
    if reader.is_usable:
        _idle.append(reader)
    else:
        reader.end()
    _places.release()
