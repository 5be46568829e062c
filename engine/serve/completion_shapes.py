"""Bodies and answers of `/v1/completions`: a text continued as it is."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from engine.serve.answer_shape import AnswerHead, AnswerShape
from engine.serve.backend import Piece, RequestRefused, TokenLogprob
from engine.serve.openai_shapes import AskBody, TokenId

_MOST_PROMPTS = 128
Ids = Annotated[list[TokenId], Field(min_length=1)]


class CompletionBody(AskBody):
    """Body of `POST /v1/completions`."""

    prompt: str | Ids | list[str] | list[Ids]
    echo: bool = False
    logprobs: int | None = Field(default=None, ge=0, le=20)
    best_of: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=16, ge=1)

    @model_validator(mode="after")
    def _check_prompts(self) -> "CompletionBody":
        if not self.prompt and not isinstance(self.prompt, str):
            raise ValueError("prompt is empty; give a text, token ids or a list of them")
        return self

    def list_prompts(self) -> list[str | tuple[int, ...]]:
        """Return each prompt."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [tuple(one for one in self.prompt if isinstance(one, int))]
        return [one if isinstance(one, str) else tuple(one) for one in self.prompt]

    def check(self) -> None:
        """Refuse what does not go together; see `AskBody.check`."""
        super().check()
        if self.best_of not in (None, self.n):
            raise RequestRefused(
                "bad_request",
                "best_of is not supported here: leave it out, or ask for n and choose yourself.",
                field="best_of",
            )
        if self.echo and self.logprobs is not None:
            raise RequestRefused(
                "bad_request",
                "logprobs cannot go with echo: the prompt's are not computed; leave one out.",
                field="logprobs",
            )
        if len(self.list_prompts()) * self.n > _MOST_PROMPTS:
            raise RequestRefused(
                "bad_request", f"prompt: at most {_MOST_PROMPTS} answers at once.", field="prompt"
            )


class CompletionAnswer(AnswerShape):
    """Shapes an answer of a completion, whole or in chunks."""

    kind = "text_completion"

    def __init__(
        self, head: AnswerHead, echoes: list[str], *, num_prompts: int, wants_logprobs: bool
    ) -> None:
        """`echoes`: of each choice, the text that stands before its answer."""
        super().__init__(head, num_choices=len(echoes), num_prompts=num_prompts)
        self._echoes = echoes
        self._texts = list(echoes)
        self._wants_logprobs = wants_logprobs
        self._tokens: list[list[TokenLogprob]] = [[] for _ in echoes]
        self._offsets = [len(echo) for echo in echoes]
        self._finishes: list[str | None] = [None] * len(echoes)

    @property
    def stream_kind(self) -> str:
        """The object's name in a stream, the same as of a whole."""
        return self.kind

    def open(self, index: int) -> list[dict[str, Any]]:
        """Shape what a stream says of an answer before its first piece: the prompt's echo."""
        echo = self._echoes[index]
        return [self._event(index, echo, (), None)] if echo else []

    def push(self, index: int, piece: Piece) -> list[dict[str, Any]]:
        """Take a piece in and shape the event that it makes."""
        self.count(index, piece)
        self._texts[index] += piece.text
        self._tokens[index] += piece.logprobs
        self._finishes[index] = piece.finish
        if not (piece.text or piece.logprobs or piece.finish):
            return []
        return [self._event(index, piece.text, piece.logprobs, piece.finish)]

    def whole(self) -> dict[str, Any]:
        """Shape the body of an answer that is not streamed."""
        self._offsets = [len(echo) for echo in self._echoes]
        choices = [
            self._choice(index, self._texts[index], self._tokens[index], self._finishes[index])
            for index in range(self.num_choices)
        ]
        return self.head() | {"object": self.kind, "choices": choices, "usage": self.usage()}

    def _event(
        self, index: int, text: str, tokens: tuple[TokenLogprob, ...], finish: str | None
    ) -> dict[str, Any]:
        choices = [self._choice(index, text, list(tokens), finish)]
        return self.head() | {"object": self.kind, "choices": choices}

    def _choice(
        self, index: int, text: str, tokens: list[TokenLogprob], finish: str | None
    ) -> dict[str, Any]:
        logprobs = self._shape_logprobs(index, tokens) if self._wants_logprobs else None
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}

    def _shape_logprobs(self, index: int, tokens: list[TokenLogprob]) -> dict[str, Any]:
        offsets = []
        for one in tokens:
            offsets.append(self._offsets[index])
            self._offsets[index] += len(one.token)
        return {
            "tokens": [one.token for one in tokens],
            "token_logprobs": [one.logprob for one in tokens],
            "top_logprobs": [{text: logprob for _, text, logprob in one.top} for one in tokens],
            "text_offset": offsets,
        }
