"""Engines that do their worst, chosen by the name of the run's output. A recorder starts it.

Everything that goes to the log is also kept in `written`, so that a test can compare.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

GARBAGE = [
    b'{"type": "metric", "step": "many"}',
    b"\xff\x00 this is not json",
    b'{"type": "log", "text": "forged by the engine"}',
    b'{"type": "status", "status": "exploded"}',
    b'["no", "object"]',
]


def say(data: bytes) -> None:
    """Write to the log, and keep what was written."""
    with Path("written").open("ab") as kept:
        kept.write(data)
    view = memoryview(data)
    while view:
        view = view[os.write(sys.stdout.fileno(), view) :]


def crash() -> None:
    """End by a signal from the inside, in the middle of a line."""
    say(b"about to fall over, in mid-li")
    os.kill(os.getpid(), signal.SIGSEGV)


def fail() -> None:
    """End with an exit status that says nothing."""
    say(b"no\n")
    sys.exit(7)


def get_killed() -> None:
    """End as by the kernel's hand."""
    say(b"killed soon\n")
    os.kill(os.getpid(), signal.SIGKILL)


def eat_memory() -> None:
    """Take more memory than the placement allows."""
    say(b"hungry\n")
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1 << 20)) * 64)


def write_garbage() -> None:
    """Write noise to the log, and garbage to the event pipe."""
    events = int(os.environ["ATHANOR_EVENT_FD"])
    os.write(events, b"".join(line + b"\n" for line in GARBAGE))
    say(os.urandom(200_000) + b"\n")


def write_long_line() -> None:
    """Write one line of a megabyte."""
    say(b"x" * 1_000_000 + b"\n")


def write_invalid_utf8() -> None:
    """Write bytes that are no text, and characters cut in two."""
    say("\u7089\u706b".encode()[:4] + b"\xff\xfe\xc3(\x00 \xed\xa0\x80\n" + b"\xf0\x9f")


def write_bars() -> None:
    """Write progress bars that return to the start of their line."""
    for percent in range(101):
        say(f"\r{percent:3d}% |{'#' * (percent // 5):20}|".encode())
    say(b"\ndone\r\n")


ENGINES: dict[str, Callable[[], None]] = {
    "crash": crash,
    "fail": fail,
    "killed": get_killed,
    "memory": eat_memory,
    "garbage": write_garbage,
    "long-line": write_long_line,
    "invalid-utf8": write_invalid_utf8,
    "bars": write_bars,
}

if __name__ == "__main__":
    ENGINES[json.loads(Path("spec.json").read_text())["output"]]()
