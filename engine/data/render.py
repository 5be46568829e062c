"""Renders rows with the model's own chat template and marks what is learnt.

Learnt are the assistant's turns and the token that ends them, each with its weight; tool results
never. The template is asked for the conversation turn by turn, so that any works, with or without
`{% generation %}`. Trainer, server and evaluator share it: nothing of training is imported here.
"""

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from engine.data.samples import IGNORED, Rendered, RenderedPair
from engine.data.transcript import Piece, Transcript
from engine.errors import EngineError
from engine.specs.problems import BadRow, bad_row
from engine.specs.turns import ConversationRow, Message, PreferenceRow, Row, get_weight
from engine.status import Reason

__all__ = ["IGNORED", "Rendered", "RenderedPair", "Renderer"]

Tools = list[dict[str, Any]]
Sample = Rendered | RenderedPair


class Renderer:
    """Turns rows into samples under one tokenizer. The counts add up over all that it rendered."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> None:
        """`max_length`: tokens of a sample beyond which it is cut."""
        self._tokenizer = tokenizer
        self._max_length = max_length
        self.end_ids = _find_end_ids(tokenizer)
        self.num_cut = 0
        """Conversations that were longer."""
        self.num_ends_added = 0
        """Turns that the template does not end, so that the tokenizer's end token was put there."""
        self.num_without_end = 0
        """Turns that neither template nor tokenizer can end: such a model never stops."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer that it was made with."""
        return self._tokenizer

    @property
    def max_length(self) -> int:
        """Tokens of a sample beyond which it is cut."""
        return self._max_length

    def render(
        self, messages: Sequence[Message], *, row: int, tools: Tools | None = None
    ) -> Rendered:
        """Render one conversation as one sample.

        Raises:
            EngineError: bad_data, when the template refuses it, or changes earlier turns as later
                ones come, so that one sample cannot teach all of its turns.
        """
        try:
            samples = self.render_turns(messages, row=row, tools=tools)
        except BadRow as bad:
            raise EngineError(Reason.BAD_DATA, f"dataset: row {row + 1}: {bad}") from bad
        if len(samples) > 1:
            raise EngineError(
                Reason.BAD_DATA,
                f"dataset: row {row + 1} cannot be masked turn by turn under this model's chat "
                "template: split it into one conversation for each answer.",
            )
        return samples[0] if samples else Rendered(ids=(), labels=(), row=row)

    def render_row(self, row: Row, *, index: int, source: int = 0) -> tuple[Sample, ...]:
        """Render what one row teaches; nothing where all of its weights are zero.

        Raises:
            BadRow: the template refuses it. Its problem has line 0.
        """
        if isinstance(row, ConversationRow):
            return self.render_turns(row.messages, row=index, tools=row.tools, source=source)
        if isinstance(row, PreferenceRow):
            return (self.render_pair(row, index=index, source=source),)
        return self.render_text(row.text, row=index, source=source)

    def render_turns(
        self,
        messages: Sequence[Message],
        *,
        row: int,
        tools: Tools | None = None,
        source: int = 0,
    ) -> tuple[Rendered, ...]:
        """Render one conversation as few samples as its template allows; most allow one.

        Some templates change earlier turns as later ones come: Qwen3 drops their thoughts, Mistral
        moves the tools. There a turn is learnt in a sample of its own, behind what the model is
        given when it has to answer. Each turn is learnt exactly once.

        Raises:
            BadRow: the template refuses it.
        """
        text = self._transcribe(messages, tools)
        learnt = [index for index, message in enumerate(messages) if get_weight(message) > 0]
        samples: list[Rendered] = []
        while learnt:
            pieces, rest = _refusing(text.locate, learnt)
            if learnt[-1] in rest:
                raise bad_row(0, "", "template_refused", detail="it shows no turn as it is asked")
            whole = _refusing(text.get, learnt[-1] + 1)
            samples.append(self._make_sample(whole, pieces, row=row, source=source))
            learnt = rest
        return tuple(reversed(samples))

    def render_pair(self, row: PreferenceRow, *, index: int, source: int = 0) -> RenderedPair:
        """Render a prompt with both answers; only they are learnt.

        Raises:
            BadRow: the template refuses it, or shows an answer's earlier turns in another way.
        """
        prompt = [{**message, "loss_weight": 0} for message in row.prompt]
        sides = []
        for answer in (row.chosen, row.rejected):
            turns = [*prompt, *answer]
            side = self.render_turns(turns, row=index, tools=row.tools, source=source)
            if len(side) != 1:
                detail = "it shows an answer of several turns in another way with each of them"
                raise bad_row(0, "", "template_refused", detail=detail)
            sides.append(side[0])
        return RenderedPair(*sides)

    def render_text(self, text: str, *, row: int, source: int = 0) -> tuple[Rendered, ...]:
        """Render a document, whole: windows of `max_length` tokens that do not overlap.

        It begins as the tokenizer begins any text and ends with its end token.
        """
        ids = list(self._tokenizer.encode(text))
        end = self._tokenizer.eos_token_id
        if end is not None and ids[-1:] != [end]:
            ids.append(end)
        return tuple(
            Rendered(ids=part, labels=part, row=row, source=source)
            for part in _cut_windows(tuple(ids), self._max_length)
        )

    def render_prompt(
        self, messages: Sequence[Message], tools: Tools | None = None
    ) -> list[int]:
        """Render what a model is given to answer."""
        text = self._transcribe(messages, tools).get(len(messages), ask=True)
        return self._tokenizer.encode(text, add_special_tokens=False)

    def render_opening(self, text: str, *, is_turn: bool) -> list[int]:
        """Render a text that a model goes on from: as a user's turn, or as a document begins."""
        if is_turn:
            return self.render_prompt([{"role": "user", "content": text}])
        ids = list(self._tokenizer.encode(text))
        while len(ids) > 1 and ids[-1] == self._tokenizer.eos_token_id:
            ids.pop()  # some tokenizers end what they encode
        return ids

    def decode(self, ids: list[int]) -> str:
        """Return the text of tokens, special ones left out."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _transcribe(self, messages: Sequence[Message], tools: Tools | None) -> Transcript:
        if not self._tokenizer.chat_template:
            raise EngineError(
                Reason.BAD_MODEL,
                "model: its tokenizer has no chat template: take an instruct model, or train it on "
                "text rows.",
            )
        return Transcript(self._tokenizer, messages, tools)

    def _make_sample(
        self, whole: str, pieces: Sequence[Piece], *, row: int, source: int
    ) -> Rendered:
        tokens = _tokenize(self._tokenizer, whole)
        ids = tokens.ids
        labels = [IGNORED] * len(ids)
        weights = [0.0] * len(ids)
        for piece in pieces:
            start, stop = tokens.find(piece.start, piece.end)
            end = self._find_end(whole, tokens, start, stop, piece.end)
            for index in range(start, end or stop):
                labels[index], weights[index] = ids[index], piece.weight
            if end is None:
                self._add_end(ids, labels, weights, stop, piece.weight)
        cut = self._max_length
        self.num_cut += len(ids) > cut
        is_weighted = any(piece.weight != 1.0 for piece in pieces)
        return Rendered(
            ids=tuple(ids[:cut]),
            labels=tuple(labels[:cut]),
            row=row,
            weights=tuple(weights[:cut]) if is_weighted else None,
            source=source,
        )

    def _find_end(
        self, whole: str, tokens: "_Tokens", start: int, stop: int, end: int
    ) -> int | None:
        """Return the index after a turn's end token; None where the turn does not end with one."""
        for index in range(stop - 1, start - 1, -1):
            if tokens.ids[index] in self.end_ids:
                behind = whole[tokens.spans[index][1] : end] if tokens.spans else ""
                return index + 1 if not behind.strip() else None
        return None

    def _add_end(
        self, ids: list[int], labels: list[int], weights: list[float], at: int, weight: float
    ) -> None:
        """Teach the end of a turn that its template leaves open, as Baichuan's and ChatGLM's do.

        As Baichuan's own finetuning does it: where the next turn begins, the label is the end.
        """
        end = self._tokenizer.eos_token_id
        if end is None:
            self.num_without_end += 1
            return
        self.num_ends_added += 1
        if at == len(ids):
            ids.append(end)
            labels.append(end)
            weights.append(weight)
        elif labels[at] == IGNORED:
            labels[at], weights[at] = end, weight


@dataclass(frozen=True)
class _Tokens:
    """Tokens of a text, and of each where in the text it lies."""

    ids: list[int]
    spans: list[tuple[int, int]]
    """Empty where the tokenizer cannot tell."""
    tokenizer: Any
    text: str

    def find(self, start: int, end: int) -> tuple[int, int]:
        """Return first and one past the last of the tokens that hold any of text[start:end]."""
        if not self.spans:
            return self._count(start), self._count(end)
        first = bisect.bisect_right(self.spans, start, key=lambda span: span[1])
        return first, bisect.bisect_left(self.spans, end, lo=first, key=lambda span: span[0])

    def _count(self, length: int) -> int:
        """Count the tokens that the text's beginning has in common with the whole."""
        ids = self.tokenizer.encode(self.text[:length], add_special_tokens=False)
        num = 0
        while num < min(len(ids), len(self.ids)) and ids[num] == self.ids[num]:
            num += 1
        return num


def _tokenize(tokenizer: PreTrainedTokenizerBase, text: str) -> _Tokens:
    if not tokenizer.is_fast:
        return _Tokens(tokenizer.encode(text, add_special_tokens=False), [], tokenizer, text)
    made = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return _Tokens(list(made["input_ids"]), list(made["offset_mapping"]), tokenizer, text)


def _refusing(function: Any, *arguments: Any) -> Any:
    """Call what asks the template; its errors are about the row, and told as such.

    Templates are programs of the model's makers: they raise on purpose, and by accident too.
    """
    try:
        return function(*arguments)
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
        told = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:200]
        raise bad_row(0, "", "template_refused", detail=told) from error
    except (RecursionError, OverflowError) as error:
        raise bad_row(0, "", "template_refused", detail="it is nested too deeply") from error


def _cut_windows(ids: tuple[int, ...], length: int) -> list[tuple[int, ...]]:
    """Cut without overlap; the last window has two tokens at least, where there are as many."""
    parts = [ids[start : start + length] for start in range(0, len(ids), length)]
    if len(parts) > 1 and len(parts[-1]) == 1 and length > 2:
        parts[-1] = parts[-2][-1:] + parts[-1]
        parts[-2] = parts[-2][:-1]
    return parts


def _find_end_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return the special tokens that may end a turn."""
    usual = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "</s>")
    found = [tokenizer.convert_tokens_to_ids(token) for token in usual]
    known = {index for index in found if index is not None and index != tokenizer.unk_token_id}
    return frozenset(known | {tokenizer.eos_token_id} - {None})
