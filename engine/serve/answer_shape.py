"""What the answers of chats and completions have in common: head, usage, likely tokens."""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from engine.serve.backend import Piece, Usage


@dataclass(frozen=True)
class AnswerHead:
    """What stands in front of every answer and of every chunk of one."""

    id: str
    model: str
    created: int = field(default_factory=lambda: int(time.time()))
    tells_time: bool = False
    """Whether the usage says where the time went, too."""


class AnswerShape(ABC):
    """Takes the pieces of one or more answers to a request, and shapes what the client gets."""

    kind: str

    def __init__(self, head: AnswerHead, *, num_choices: int, num_prompts: int = 1) -> None:
        """Answers to one prompt stand together, as many for each."""
        self._head = head
        self.num_choices = num_choices
        self._first = range(0, num_choices, num_choices // num_prompts)
        self._fingerprint: str | None = None
        self._num_prompt_tokens = 0  # as counted at the start; what comes at the end goes before
        self._num_tokens = [0] * num_choices
        self._usages: dict[int, Usage] = {}
        self._begun: dict[int, Usage | None] = {}

    @abstractmethod
    def open(self, index: int) -> list[dict[str, Any]]:
        """Shape what a stream says of an answer before its first piece."""

    @abstractmethod
    def push(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        """Take a piece in and shape the events that it makes."""

    @abstractmethod
    def whole(self) -> dict[str, Any]:
        """Shape the body of an answer that is not streamed."""

    def begin(self, num_prompt_tokens: int, fingerprint: str | None) -> None:
        """Take in what is known once the first answers are begun; before any other call."""
        self._num_prompt_tokens = num_prompt_tokens
        self._fingerprint = fingerprint

    def usage_event(self) -> dict[str, Any]:
        """Shape the event that ends a stream with its usage."""
        return self.head() | {"object": self.stream_kind, "choices": [], "usage": self.usage()}

    @property
    def stream_kind(self) -> str:
        """The object's name in a stream."""
        return f"{self.kind}.chunk"

    def count(self, index: int, piece: Piece) -> None:
        """Take a piece into the usage."""
        self._num_tokens[index] = piece.num_tokens
        if piece.usage and piece.finish:
            self._usages[index] = piece.usage
        elif piece.usage:
            self._begun.setdefault(index, piece.usage)

    def take_begun(self) -> dict[str, Any]:
        """Shape what the beginning of an answer took, once, for whoever is told the time.

        A stream whose reader leaves comes to no usage; so it is known what was done for them.
        """
        for index, usage in self._begun.items():
            if usage is not None and self._head.tells_time:
                self._begun[index] = None
                told = {
                    "prompt_tokens": usage.num_prompt_tokens,
                    "cached_tokens": usage.num_cached_tokens,
                    "queue_s": usage.queue_s,
                    "prefill_s": usage.prefill_s,
                }
                return {"athanor_begun": told}
        return {}

    def usage(self) -> dict[str, Any]:
        """Shape the count of tokens; a prompt that several answers share counts once."""
        known = [self._usages[index] for index in self._first if index in self._usages]
        prompt, answer = self._num_prompt_tokens, sum(self._num_tokens)
        if len(known) == len(self._first):
            prompt = sum(one.num_prompt_tokens for one in known)
        usage: dict[str, Any] = {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
            "prompt_tokens_details": {"cached_tokens": sum(one.num_cached_tokens for one in known)},
        }
        if self._head.tells_time:
            usage["timing"] = {
                "queue_s": max((one.queue_s for one in known), default=0.0),
                "prefill_s": sum(one.prefill_s for one in self._usages.values()),
                "decode_s": sum(one.decode_s for one in self._usages.values()),
            }
        return usage

    def head(self) -> dict[str, Any]:
        """Shape what stands in front."""
        return {
            "id": self._head.id,
            "created": self._head.created,
            "model": self._head.model,
            "system_fingerprint": self._fingerprint,
        }


def shape_token(text: str, logprob: float) -> dict[str, Any]:
    """Shape one token and how likely it was."""
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace"))}
