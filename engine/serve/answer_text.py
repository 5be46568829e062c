"""Turns token ids into text while they come: whole characters only, and nothing past a stop text.

Not a tokenizer: it asks one to decode, a few ids at a time.
"""

from collections.abc import Callable, Sequence

_REPLACEMENT = "\ufffd"
# A UTF-8 character has up to four bytes, so up to three may lie there unfinished.
_MAX_OPEN = 3
_MOST_HELD = 64  # ids of a window without an end: a text in UTF-8 has one every few

Decode = Callable[[Sequence[int]], str]


class TokenText:
    """Gives the text that each further token adds; joined, the same as decoding all at once.

    A window of the last piece and the open one is decoded at a time, since many tokenizers write a
    token differently at the start of a text.
    """

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._num_settled = 0  # ids at the start of the window whose text was given before
        self._num_given = 0  # characters of the window's text that were given

    def push(self, token_id: int) -> str:
        """Add a token and return the text that is now sure; a character's first bytes are not."""
        self._ids.append(token_id)
        text = self._decode(self._ids)
        num_open = min(_MAX_OPEN, len(text) - len(text.rstrip(_REPLACEMENT)))
        sure = text[self._num_given : len(text) - num_open]
        self._num_given += len(sure)
        if sure and not num_open:
            self._slide()
        elif len(self._ids) > _MOST_HELD:
            sure += self._bound(text)
        return sure

    def flush(self) -> str:
        """Return what was held back, as the tokenizer writes unfinished bytes."""
        text = self._decode(self._ids) if self._ids else ""
        rest = text[self._num_given :]
        self._num_given = len(text)
        return rest

    def _bound(self, text: str) -> str:
        """Keep short a window that is all bytes of no character, or tokens of no text.

        Else each token would cost as much as all before it: time that belongs to others too.
        """
        rest = text[self._num_given :]
        if rest:
            self._slide()
        else:
            self._ids.pop()
        return rest

    def _slide(self) -> None:
        """Forget the older half of the window: what was settled before this piece."""
        self._ids = self._ids[self._num_settled :]
        self._num_settled = len(self._ids)
        self._num_given = len(self._decode(self._ids))


class StopText:
    """Lets text through up to the first of some stop texts."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.is_hit = False

    def push(self, text: str) -> str:
        """Add text and return what cannot be the start of a stop text any more."""
        if self.is_hit:
            return ""
        self._held += text
        cuts = [cut for stop in self._stops if (cut := self._held.find(stop)) >= 0]
        if cuts:
            self.is_hit = True
            given, self._held = self._held[: min(cuts)], ""
            return given
        num_kept = max((_count_overlap(self._held, stop) for stop in self._stops), default=0)
        cut = len(self._held) - num_kept
        given, self._held = self._held[:cut], self._held[cut:]
        return given

    def flush(self) -> str:
        """Return what was held back: the text is over and no stop text came."""
        given, self._held = self._held, ""
        return given


def _count_overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of `text` that is a proper start of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
