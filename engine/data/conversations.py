"""Reads conversations out of JSONL, by the one contract in `engine.specs.messages`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.specs.messages import iter_lines, parse_row
from engine.status import Reason

Conversation = list[dict[str, Any]]
_READ_BYTES = 2**20
_MOST_TOLD = 5


def read_conversations(path: Path) -> list[Conversation]:
    """Read every row's messages, in the order of the file.

    Raises:
        EngineError: bad_data, naming the first bad rows, their fields and the mend.
    """
    conversations: list[Conversation] = []
    told: list[str] = []
    num_bad = 0
    for number, line in enumerate(iter_lines(_read(path)), start=1):
        if not line.strip():
            continue
        row, problems = parse_row(line, number)
        if problems or row is None:
            num_bad += 1
            told += [f"line {p.line}: {p.problem} {p.mend}" for p in problems]
        else:
            conversations.append(row["messages"])
    if num_bad:
        shown = " ".join(told[:_MOST_TOLD])
        raise EngineError(Reason.BAD_DATA, f"dataset: {num_bad} bad rows in {path.name}: {shown}")
    if not conversations:
        raise EngineError(Reason.BAD_DATA, f"dataset: {path.name} holds no rows: add some.")
    return conversations


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            yield chunk
