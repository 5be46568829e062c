"""Reads a run's log back: by line, by words, as bytes. Always piece by piece, few at a time.

Lines end at a newline byte and nowhere else; a carriage return is a part of its line. Bytes that
are not UTF-8 are shown as U+FFFD here and kept as they are in the download.
"""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from channels.db import database_sync_to_async

from studio.jobs.models import Run, RunEvent
from studio.jobs.stored import iterate_log

_MOST_PAGE_BYTES = 4 * 2**20  # a page of a log with huge lines ends early
_MOST_SHOWN = 2000  # characters of a found line that are shown
_PIECES_PER_READ = 64


@dataclass(frozen=True)
class LogPage:
    """Some lines of a log, without their newlines."""

    first_line: int
    lines: list[str]


@dataclass(frozen=True)
class LogMatch:
    """A line that holds what was searched for."""

    line: int
    text: str


def read_lines(run: Run, *, from_line: int, limit: int) -> LogPage:
    """Return at most `limit` lines from `from_line` on; a negative one counts from the end."""
    total = run.log_lines
    first = max(0, total + from_line) if from_line < 0 else min(from_line, total)
    lines: list[str] = []
    num_bytes = 0
    for number, line in _iterate_lines(run, _find_piece(run, first)):
        if number < first:
            continue
        if len(lines) == limit or (lines and num_bytes > _MOST_PAGE_BYTES):
            break
        lines.append(line.decode(errors="replace"))
        num_bytes += len(line)
    return LogPage(first, lines)


def search_lines(run: Run, *, query: str, limit: int) -> tuple[int, list[LogMatch]]:
    """Count the lines that hold `query`, and return the first `limit` of them.

    ASCII letters match in either case. Reads the whole log, a piece at a time.
    """
    wanted = query.encode().lower()
    count = 0
    matches: list[LogMatch] = []
    for number, line in _iterate_lines(run, 0):
        at = line.lower().find(wanted)
        if at < 0:
            continue
        count += 1
        if len(matches) < limit:
            matches.append(LogMatch(number, _excerpt(line, at)))
    return count, matches


async def stream_bytes(run: Run) -> AsyncIterator[bytes]:
    """Yield the log's bytes as they were written."""
    read = database_sync_to_async(_read_pieces)
    next_seq = 0
    while pieces := await read(run, next_seq):
        for piece in pieces:
            yield bytes(piece.data or b"")
        next_seq = pieces[-1].seq + 1


def _read_pieces(run: Run, from_seq: int) -> list[RunEvent]:
    pieces = RunEvent.objects.filter(run=run, type="log", seq__gte=from_seq).order_by("seq")
    return list(pieces[:_PIECES_PER_READ])


def _find_piece(run: Run, line: int) -> int:
    """Return the seq of the last piece that begins before the line does."""
    before = RunEvent.objects.filter(run=run, type="log", first_line__lt=line)
    piece = before.order_by("-first_line", "-seq").only("seq").first()
    return piece.seq if piece else 0


def _iterate_lines(run: Run, from_seq: int) -> Iterator[tuple[int, bytes]]:
    """Yield (number, bytes) of each line from the piece on.

    Of a line that began in an earlier piece only the end is there.
    """
    number: int | None = None
    open_parts: list[bytes] = []
    for piece in iterate_log(run, from_seq=from_seq):
        if number is None:
            number = piece.first_line or 0
        *whole, rest = bytes(piece.data or b"").split(b"\n")
        for line in whole:
            open_parts.append(line)
            yield number, b"".join(open_parts)
            open_parts.clear()
            number += 1
        if rest:
            open_parts.append(rest)
    if open_parts and number is not None:
        yield number, b"".join(open_parts)


def _excerpt(line: bytes, at: int) -> str:
    begin = max(0, at - _MOST_SHOWN // 2)
    return line[begin : begin + _MOST_SHOWN].decode(errors="replace")
