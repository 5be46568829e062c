"""Follows events.jsonl by byte offset: whole lines, in order, from any the studio asks for."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

BATCH_BYTES = 1_048_576
BATCH_EVENTS = 500


@dataclass(frozen=True)
class Line:
    """One event as it stands in the file."""

    seq: int
    data: bytes
    """Without the newline."""
    end: int
    """Offset of the byte after its newline."""


class Follower:
    """A place in an event file. The n-th line, from 0, is the event with `seq` n."""

    def __init__(self, path: Path) -> None:
        """Begin at the start; the file may not exist yet."""
        self._path = path
        self._offset = 0
        self.seq = 0
        """Number of the next event that `peek` returns."""

    def peek(self, *, max_events: int = BATCH_EVENTS, max_bytes: int = BATCH_BYTES) -> list[Line]:
        """Return the next whole lines without passing them; at least one when there is one."""
        data = self._read(max_bytes)
        lines: list[Line] = []
        start = 0
        while len(lines) < max_events and (newline := data.find(b"\n", start)) >= 0:
            line = Line(self.seq + len(lines), data[start:newline], self._offset + newline + 1)
            lines.append(line)
            start = newline + 1
        return lines

    def seek(self, seq: int) -> bool:
        """Go to the event with this number, back or on; False when the file ends before it."""
        if seq < self.seq:
            self._offset = self.seq = 0
        while self.seq < seq:
            lines = self.peek(max_events=seq - self.seq)
            if not lines:
                return False
            self.pass_line(lines[-1])
        return True

    def pass_line(self, line: Line) -> None:
        """Go behind a line that `peek` returned."""
        self.seq, self._offset = line.seq + 1, line.end

    def _read(self, max_bytes: int) -> bytes:
        """Read at most `max_bytes`, or more where the first line alone is longer."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(max_bytes)
                if b"\n" in data or len(data) < max_bytes:
                    return data
                return data + file.readline()
        except FileNotFoundError:
            return b""


def make_body(lines: list[Line], *, now: float, alive: bool) -> bytes:
    """Join events to the body of one request, as they were written."""
    head = json.dumps({"now": now, "alive": alive}).removesuffix("}").encode()
    return head + b', "events": [' + b",".join(_repair(line) for line in lines) + b"]}"


def as_log(line: Line, now: float) -> Line:
    """Turn an event that the studio cannot read into a piece of log that holds its bytes."""
    data = base64.b64encode(line.data).decode("ascii")
    event = {"seq": line.seq, "time": now, "type": "log", "data": data}
    return Line(line.seq, json.dumps(event).encode(), line.end)


def _repair(line: Line) -> bytes:
    """Pass a line on, unless a broken disk has made it no event: then its bytes go as log."""
    try:
        is_event = isinstance(json.loads(line.data), dict)
    except ValueError:
        is_event = False
    return line.data if is_event else as_log(line, 0.0).data
