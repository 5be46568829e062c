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
_MOST_LINE_BYTES = 4 * 2**20  # of a longer line the rest is in the download only
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
    for number, line, num_cut in _iterate_lines(run, _find_piece(run, first)):
        if number < first:
            continue
        if len(lines) == limit or (lines and num_bytes > _MOST_PAGE_BYTES):
            break
        text = line.decode(errors="replace")
        lines.append(f"{text} [+{num_cut} bytes, in the download]" if num_cut else text)
        num_bytes += len(line)
    return LogPage(first, lines)


def search_lines(run: Run, *, query: str, limit: int) -> tuple[int, list[LogMatch]]:
    """Count the lines that hold `query`, and return the first `limit` of them.

    ASCII letters match in either case. Reads the whole log, a piece at a time; of a line over
    4 MiB only that much.
    """
    wanted = query.encode().lower()
    count = 0
    matches: list[LogMatch] = []
    for number, line, _ in _iterate_lines(run, 0):
        at = line.lower().find(wanted)
        if at < 0:
            continue
        count += 1
        if len(matches) < limit:
            matches.append(LogMatch(number, _excerpt(line, at)))
    return count, matches


async def stream_bytes(run: Run) -> AsyncIterator[bytes]:
    """Yield the log's bytes as they were written, `run.log_bytes` of them.

    What is written meanwhile is left out: the answer's length was said before.
    """
    read = database_sync_to_async(_read_pieces)
    next_seq, num_left = 0, run.log_bytes
    while num_left > 0 and (pieces := await read(run, next_seq)):
        for piece in pieces:
            data = bytes(piece.data or b"")[:num_left]
            num_left -= len(data)
            yield data
        next_seq = pieces[-1].seq + 1


def _read_pieces(run: Run, from_seq: int) -> list[RunEvent]:
    pieces = RunEvent.objects.filter(run=run, type="log", seq__gte=from_seq).order_by("seq")
    return list(pieces[:_PIECES_PER_READ])


def _find_piece(run: Run, line: int) -> int:
    """Return the seq of the last piece that begins before the line does."""
    before = RunEvent.objects.filter(run=run, type="log", first_line__lt=line)
    piece = before.order_by("-first_line", "-seq").only("seq").first()
    return piece.seq if piece else 0


def _iterate_lines(run: Run, from_seq: int) -> Iterator[tuple[int, bytes, int]]:
    """Yield (number, bytes, how many bytes more it has) of each line from the piece on.

    Of a line that began in an earlier piece only the end is there.
    """
    number: int | None = None
    line, num_cut = bytearray(), 0
    for piece in iterate_log(run, from_seq=from_seq):
        if number is None:
            number = piece.first_line or 0
        *ends, rest = bytes(piece.data or b"").split(b"\n")
        for part in ends:
            num_cut += _append(line, part)
            yield number, bytes(line), num_cut
            line, num_cut = bytearray(), 0
            number += 1
        num_cut += _append(line, rest)
    if line and number is not None:
        yield number, bytes(line), num_cut


def _append(line: bytearray, part: bytes) -> int:
    """Lengthen a line as far as it may grow; return how many bytes found no room."""
    room = _MOST_LINE_BYTES - len(line)
    line += part[:room]
    return max(0, len(part) - room)


def _excerpt(line: bytes, at: int) -> str:
    begin = max(0, at - _MOST_SHOWN // 2)
    return line[begin : begin + _MOST_SHOWN].decode(errors="replace")
