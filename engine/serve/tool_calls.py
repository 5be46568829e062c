"""Finds tool calls in a model's answer as it comes: text pieces in, words and calls out.

What the formats are and which model writes which: `tools.py`. A call is given when it is whole and
names a function that was offered; what only looks like a call stays text.
"""

import json
import re
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

PYTHON_TAG = "<|python_tag|>"  # Llama 3.x may put it before a call
_BETWEEN = re.compile(r"[\s;,]*")
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class ToolFormat:
    """How a model writes calls."""

    name: str
    opening: tuple[str, ...] = ()
    """Marks before a call, each of them one token in models that know the format."""
    closing: str = ""
    """The mark behind it; empty where the answer's end closes."""
    arguments: Literal["arguments", "parameters"] = "arguments"
    """The key of the arguments beside `name`."""
    is_list: bool = False
    """Several calls stand in one JSON list between one pair of marks."""
    may_be_bare: bool = False
    """An answer that is nothing but JSON may be calls."""
    is_in_template: bool = True
    """The chat template tells the model of the tools; else the words of the prompt must."""
    short_ids: bool = False
    """Nine letters or digits, as Mistral's template asks of a call's id."""


@dataclass(frozen=True)
class Call:
    """One call."""

    id: str
    name: str
    arguments: str
    """A JSON object as text."""


@dataclass(frozen=True)
class Found:
    """What a piece of text brought."""

    text: str = ""
    calls: tuple[Call, ...] = ()

    def __add__(self, other: "Found") -> "Found":
        return Found(self.text + other.text, self.calls + other.calls)


class ToolParser:
    """Splits one answer. However the text is cut into pieces, the sum of what is found is one."""

    def __init__(
        self,
        form: ToolFormat,
        names: Collection[str],
        *,
        most_calls: int | None = None,
        make_id: Callable[[], str] | None = None,
    ) -> None:
        """`names`: functions that may be called. Calls beyond `most_calls` are dropped."""
        self._form = form
        self._names = names
        self._most_calls = most_calls
        self._make_id = make_id or (_make_short_id if form.short_ids else _make_id)
        self._opening = "".join(form.opening)
        self._num_calls = 0
        self._held = ""
        self._state: Literal["start", "words", "call", "bare"] = "start"
        self._scan = _Scan()

    def push(self, text: str) -> Found:
        """Add text and return what is now sure."""
        self._held += text
        found = Found()
        while True:
            state, num_held = self._state, len(self._held)
            found += self._step()
            if (self._state, len(self._held)) == (state, num_held):
                return found

    def flush(self) -> Found:
        """Return what was held back: the answer is over."""
        held, self._held = self._held, ""
        if self._state == "bare":
            return self._take_calls(held.strip().removeprefix(PYTHON_TAG), held)
        if self._state == "call":
            return self._take_calls(held.lstrip()[len(self._opening) :], held)
        return Found("" if self._num_calls and not held.strip() else held)

    def _step(self) -> Found:
        if self._state == "start":
            self._state = self._find_start()
        elif self._state == "words":
            return self._step_words()
        elif self._state == "call":
            return self._step_call()
        return Found()

    def _find_start(self) -> Literal["start", "words", "bare"]:
        words = self._held.lstrip()
        if not self._form.may_be_bare:
            return "words"
        if words.startswith(("{", "[", PYTHON_TAG)):
            return "bare"
        return "start" if PYTHON_TAG.startswith(words) else "words"

    def _step_words(self) -> Found:
        """Let words through up to a mark; the blanks before a mark belong to it."""
        place = self._held.find(self._opening) if self._opening else -1
        if place >= 0:
            num_words = len(self._held[:place].rstrip())
            self._state, self._scan = "call", _Scan()
        else:
            num_words = len(self._held) - count_overlap(self._held, self._opening)
            num_words = len(self._held[:num_words].rstrip())
        words, self._held = self._held[:num_words], self._held[num_words:]
        return Found(words)

    def _step_call(self) -> Found:
        """Wait for the closing mark, which may also stand in a string of the JSON."""
        start = self._held.index(self._opening) + len(self._opening)
        stop = self._scan.find(self._held, start, self._form.closing)
        if stop is None:
            return Found()
        raw, self._held = self._held, self._held[stop + len(self._form.closing) :]
        self._state = "words"
        return self._take_calls(raw[start:stop], raw[: stop + len(self._form.closing)])

    def _take_calls(self, body: str, raw: str) -> Found:
        read = self._read_calls(body)
        if not read:
            return Found(raw)
        left = None if self._most_calls is None else max(0, self._most_calls - self._num_calls)
        self._num_calls += len(read)
        calls = [Call(self._make_id(), name, arguments) for name, arguments in read[:left]]
        return Found("", tuple(calls))

    def _read_calls(self, body: str) -> list[tuple[str, str]]:
        """Return name and arguments of each call; none where one of them is no call."""
        calls: list[tuple[str, str]] = []
        for value in _read_values(body) or ():
            for one in value if isinstance(value, list) else [value]:
                call = self._read_call(one)
                if call is None:
                    return []
                calls.append(call)
        return calls

    def _read_call(self, value: Any) -> tuple[str, str] | None:
        if not isinstance(value, dict) or value.get("name") not in self._names:
            return None
        arguments = value.get("arguments", value.get("parameters", {}))
        if isinstance(arguments, str):  # some write the object as text
            arguments = next(iter(_read_values(arguments) or ()), None)
        if not isinstance(arguments, dict):
            return None
        return value["name"], json.dumps(arguments, ensure_ascii=False)


class _Scan:
    """Looks for a mark outside of JSON strings, and goes on where it was when more text came."""

    def __init__(self) -> None:
        self._place = 0
        self._is_in_string = False
        self._is_escaped = False

    def find(self, text: str, start: int, mark: str) -> int | None:
        """Return where `mark` begins; `text` only grows between calls, `start` stays."""
        if not mark:
            return None
        self._place = max(self._place, start)
        while self._place <= len(text) - len(mark):
            if not self._is_in_string and text.startswith(mark, self._place):
                return self._place
            self._pass(text[self._place])
            self._place += 1
        return None

    def _pass(self, letter: str) -> None:
        if not self._is_in_string:
            self._is_in_string = letter == '"'
        elif self._is_escaped:
            self._is_escaped = False
        elif letter == "\\":
            self._is_escaped = True
        else:
            self._is_in_string = letter != '"'


def count_overlap(text: str, mark: str) -> int:
    """Return the length of the longest end of `text` that is a proper start of `mark`."""
    longest = min(len(text), max(0, len(mark) - 1))
    return next((n for n in range(longest, 0, -1) if text.endswith(mark[:n])), 0)


def _read_values(text: str) -> list[Any] | None:
    """Return the JSON values that a text is made of; None where it has anything else."""
    values: list[Any] = []
    place = 0
    while True:
        match = _BETWEEN.match(text, place)
        place = match.end() if match else place
        if place == len(text):
            return values
        try:
            value, place = _DECODER.raw_decode(text, place)
        except (ValueError, RecursionError):
            return None
        values.append(value)


def _make_id() -> str:
    return f"call_{secrets.token_hex(12)}"


def _make_short_id() -> str:
    return secrets.token_hex(5)[:9]
