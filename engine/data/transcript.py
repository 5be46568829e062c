"""One conversation as its chat template writes it, and where in that text its turns lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PreTrainedTokenizerBase

from engine.specs.turns import Message, get_weight


@dataclass(frozen=True)
class Piece:
    """A part of the text that is learnt: the words of one turn, and what ends it."""

    start: int
    end: int
    weight: float


class Transcript:
    """Asks the template for the conversation's beginnings, each once."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        messages: Sequence[Message],
        tools: list[dict[str, Any]] | None,
    ) -> None:
        self._tokenizer = tokenizer
        self._weights = [get_weight(message) for message in messages]
        self._messages = [
            {key: value for key, value in message.items() if key != "loss_weight"}
            for message in messages
        ]
        self._tools = tools
        self._known: dict[tuple[int, bool], str] = {}

    def get(self, length: int, *, ask: bool = False) -> str:
        """Return the text of the first messages; `ask` opens the assistant's turn behind them."""
        if length == 0 and not ask:
            return ""
        if (length, ask) not in self._known:
            self._known[length, ask] = self._tokenizer.apply_chat_template(
                self._messages[:length],
                tools=self._tools,
                tokenize=False,
                add_generation_prompt=ask,
            )
        return self._known[length, ask]

    def locate(self, indexes: Sequence[int]) -> tuple[list[Piece], list[int]]:
        """Find turns in the text that ends with the last of them; return those not in it, too."""
        whole = self.get(indexes[-1] + 1)
        pieces, rest = [], []
        for index in indexes:
            is_answer = self._messages[index]["role"] == "assistant"
            start = self._find_answer(index, whole) if is_answer else self._find_words(index, whole)
            end = self._find_end(index, whole)
            if start is None or end is None or start >= end:
                rest.append(index)
            else:
                pieces.append(Piece(start, end, self._weights[index]))
        return pieces, rest

    def _find_answer(self, index: int, whole: str) -> int | None:
        """Return where the model begins to write; None where it is given another text before."""
        asked = self.get(index, ask=True)
        if whole.startswith(asked):
            return len(asked)
        # A template may open a turn with more than it shows of it later, such as `<think>`.
        before = self._without_end(self.get(index), whole)
        common = _count_common(asked, whole)
        return common if before is not None and common > len(before) else None

    def _find_words(self, index: int, whole: str) -> int | None:
        """Return where a turn's own words begin that is not the assistant's."""
        before = self._without_end(self.get(index), whole)
        upto = self._without_end(self.get(index + 1), whole)
        if before is None or upto is None:
            return None
        place = upto.rfind(self._messages[index]["content"].strip(), len(before))
        return place if place >= 0 else None

    def _find_end(self, index: int, whole: str) -> int | None:
        upto = self._without_end(self.get(index + 1), whole)
        return None if upto is None else len(upto)

    def _without_end(self, text: str, whole: str) -> str | None:
        """Return a beginning of the whole; Phi's template writes one token more behind the last."""
        if whole.startswith(text):
            return text
        shorter = text.removesuffix(self._tokenizer.eos_token or "")
        return shorter if whole.startswith(shorter) else None


def _count_common(first: str, second: str) -> int:
    most = min(len(first), len(second))
    for index in range(most):
        if first[index] != second[index]:
            return index
    return most
