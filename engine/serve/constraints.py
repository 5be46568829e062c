"""Grammars that whole answers must match, and which tokens each allows next (by llguidance).

A constraint is compiled where a request enters, never on the thread that makes tokens, and kept:
most callers send the same schema again and again.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from llguidance import LLMatcher, LLTokenizer, grammar_from
from llguidance.hf import from_tokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from engine.serve.backend import Constraint, RequestRefused

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

_NUM_KEPT = 64
_MOST_LETTERS = 2**19  # compiling so many takes about a second of one processor
# Separators as `json.dumps` writes them. Left free, small models write blanks without end.
_JSON_OPTIONS: "JsonCompileOptions" = {
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}
# Kind of constraint, or the field that it was made of -> the field, and what people call it.
_NAMES = {
    "json_object": ("response_format", "JSON object"),
    "json_schema": ("response_format", "JSON schema"),
    "regex": ("regex", "regular expression"),
    "grammar": ("grammar", "grammar"),
    "tools": ("tools", "schema of a function"),
}


class Matcher:
    """Follows one answer through its grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    @property
    def is_complete(self) -> bool:
        """True when nothing can follow."""
        return bool(self._matcher.is_stopped())

    def take(self, token_id: int) -> None:
        """Go on by a token.

        Raises:
            ValueError: it is not allowed here.
        """
        if not self._matcher.consume_token(token_id):
            raise ValueError(f"token {token_id}: {self._matcher.get_error()}")

    def write_mask(self, bits_RW: np.ndarray, row: int) -> None:
        """Write which tokens may follow, a bit each.

        Raises:
            ValueError: the grammar has become too complex to follow.
        """
        fill_next_token_bitmask(self._matcher, bits_RW, row)
        if self._matcher.is_error():
            raise ValueError(self._matcher.get_error())


class Grammars:
    """Compiles constraints for one tokenizer. May be used from any thread."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, vocab_size: int, end_ids: Iterable[int]
    ) -> None:
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._end_ids = sorted(end_ids)
        self._lock = threading.Lock()
        self._table: LLTokenizer | None = None
        # Used longest ago first. Each tenant has its own: a schema that is ready at once would
        # tell that somebody else has sent it.
        self._kept: OrderedDict[tuple[str, Constraint], LLMatcher] = OrderedDict()

    def open(self, constraint: Constraint, tenant: str = "") -> Matcher:
        """Return a matcher at its start.

        Raises:
            RequestRefused: the constraint cannot be compiled.
        """
        key = (tenant, constraint)
        with self._lock:
            fresh = self._kept.get(key)
        if fresh is None:  # compiled without the lock: a slow one holds up its own caller only
            fresh = self._compile(constraint)
        with self._lock:
            self._kept[key] = fresh
            self._kept.move_to_end(key)
            if len(self._kept) > _NUM_KEPT:
                self._kept.popitem(last=False)
            return Matcher(fresh.deep_copy())

    def _compile(self, constraint: Constraint) -> LLMatcher:
        if len(constraint.text) > _MOST_LETTERS:
            raise _refuse(constraint, f"it has more than {_MOST_LETTERS} letters")
        with self._lock:
            if self._table is None:  # takes a second, and most servers never need it
                self._table = from_tokenizer(self._tokenizer, self._vocab_size, self._end_ids)
        try:
            grammar = _WRITERS[constraint.kind](constraint.text)
        except ValueError as error:
            raise _refuse(constraint, str(error)) from error
        matcher = LLMatcher(self._table, grammar, log_level=0)
        if matcher.is_error():
            raise _refuse(constraint, matcher.get_error())
        try:  # some, such as a schema that is nothing but itself, fail only when they are followed
            make_masks([Matcher(matcher.deep_copy())], self._vocab_size)
        except ValueError as error:
            raise _refuse(constraint, str(error)) from error
        return matcher


def make_masks(matchers: Sequence[Matcher | None], vocab_size: int) -> Tensor:
    """Return R x V, True where the row's token is allowed; all are, without a matcher."""
    bits_RW = allocate_token_bitmask(len(matchers), vocab_size)
    for row, matcher in enumerate(matchers):
        if matcher is not None:
            matcher.write_mask(bits_RW, row)
    flags_RV = np.unpackbits(bits_RW.view(np.uint8), axis=1, bitorder="little")[:, :vocab_size]
    return torch.from_numpy(flags_RV).bool()


def _write_schema(text: str) -> str:
    schema = json.loads(text)
    if not isinstance(schema, dict | bool):
        raise ValueError("a schema is a JSON object")
    return LLMatcher.grammar_from_json_schema(json.dumps(schema), defaults=_JSON_OPTIONS)


_WRITERS: dict[str, Callable[[str], str]] = {
    "json_object": lambda text: _write_schema('{"type": "object"}'),
    "json_schema": _write_schema,
    "regex": LLMatcher.grammar_from_regex,
    "grammar": lambda text: grammar_from("ebnf", text),
}


def _refuse(constraint: Constraint, why: str) -> RequestRefused:
    field, what = _NAMES[constraint.field or constraint.kind]
    return RequestRefused(
        "bad_response_format",
        f"{field}: the {what} cannot be followed: {_shorten(why)}.",
        field=field,
    )


def _shorten(why: str) -> str:
    lines = [line.strip() for line in why.splitlines() if line.strip()]
    return (lines[0] if lines else "it has no meaning").rstrip(".:")[:300]
