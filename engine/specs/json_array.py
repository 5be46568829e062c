"""Streams the elements of one large JSON array without holding it.

The standard library reads whole texts only. Elements are cut out of a sliding text by its decoder,
which is faster than an event parser and gives the same values as a line of JSONL. A contract
module: pydantic and the standard library only.
"""

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Any

from engine.specs.messages import MAX_LINE_BYTES, refuse_constant
from engine.specs.problems import BrokenFile, RowProblem

_SPACE = " \t\r\n"
_BEHIND = (*_SPACE, ",", "]")


def iter_array(chunks: Iterable[bytes], name: str) -> Iterator[tuple[int, Any, list[RowProblem]]]:
    """Yield number and value of each element; `name` is the file's, for messages.

    Raises:
        BrokenFile: the array breaks off or is none: what follows is lost.
    """
    text = _Text(chunks, name)
    decoder = json.JSONDecoder(parse_constant=refuse_constant)
    text.expect("[")
    number = 1
    if text.peek() == "]":
        text.expect("]")
    else:
        while True:
            yield number, text.take_value(decoder, number), []
            if text.peek() == "]":
                text.expect("]")
                break
            text.expect(",")
            number += 1
    if text.peek():
        raise text.broken(f"goes on behind its list ({text.peek()!r})")


class _Text:
    """The part of the file that is held: from the element at hand to where reading has come."""

    def __init__(self, chunks: Iterable[bytes], name: str) -> None:
        self._chunks = iter(chunks)
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._name = name
        self._held, self._at = "", 0
        self._is_over = False

    def peek(self) -> str:
        """Return the next character that is no white space; empty at the end."""
        while True:
            while self._at < len(self._held):
                if self._held[self._at] not in _SPACE:
                    return self._held[self._at]
                self._at += 1
            if not self._read_on():
                return ""

    def expect(self, character: str) -> None:
        """Go beyond one character."""
        found = self.peek()
        if found != character:
            raise self.broken(f"has {found!r} where {character!r} is wanted" if found else "ends")
        self._at += 1

    def take_value(self, decoder: json.JSONDecoder, number: int) -> Any:
        """Return the next value and go beyond it, reading on until it is whole."""
        self.peek()
        wanted = 0
        while True:
            if len(self._held) - self._at >= wanted or self._is_over:
                try:
                    value, end = decoder.raw_decode(self._held, self._at)
                except RecursionError:
                    raise self.broken(f"is nested too deeply in row {number}") from None
                except ValueError as error:
                    if self._is_over or len(self._held) - self._at > MAX_LINE_BYTES:
                        raise self.broken(f"is not JSON in row {number} ({error})") from None
                    wanted = 2 * (len(self._held) - self._at)
                else:
                    # What ends with a bracket or quote is whole; a number may go on: 1, 1.5.
                    is_whole = self._held[end - 1] in '}]"' or self._held[end : end + 1] in _BEHIND
                    if self._is_over or (is_whole and end < len(self._held)):
                        self._at = end
                        return value
            self._read_on()

    def broken(self, what: str) -> BrokenFile:
        """Return the error of a file that cannot be read any further."""
        return BrokenFile(f"{self._name} {what}: mend the file, or write JSON lines.")

    def _read_on(self) -> bool:
        if self._is_over:
            return False
        self._held, self._at = self._held[self._at :], 0
        chunk = next(self._chunks, None)
        self._is_over = chunk is None
        try:
            self._held += self._decode(chunk or b"", self._is_over)
        except UnicodeDecodeError:
            raise self.broken("is not UTF-8") from None
        return not self._is_over
