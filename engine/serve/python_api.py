"""The engine in a Python program: the server's backend, bodies and rules without a server."""

import queue
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.runtime import prepare_process
from engine.serve.asking import Answers, Asked, Gathering, ask_chat, ask_completion, check_piece
from engine.serve.backend import (
    Backend,
    EmbedRequest,
    Piece,
    RequestRefused,
    TokenLogprob,
)
from engine.serve.backends import open_backend
from engine.serve.callers import Caller
from engine.serve.chat_shapes import ChatBody
from engine.serve.completion_shapes import CompletionBody
from engine.serve.openai_shapes import validate
from engine.serve.tool_calls import Call
from engine.spec_file import explain_problems
from engine.specs import Placement, ServeSpec
from engine.status import Reason

Turns = Sequence[dict[str, Any]]
Prompt = str | Sequence[int] | Turns


@dataclass(frozen=True)
class Answer:
    """An answer, whole."""

    text: str
    finish: str
    """stop, length or tool_calls."""
    tool_calls: tuple[Call, ...] = ()
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of each token, where asked for."""
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0
    """Prompt tokens whose keys and values lay ready."""
    num_tokens: int = 0


class _PromptBody(CompletionBody):
    """A completion that is as long as the context allows where nothing else is said."""

    max_tokens: int | None = Field(default=None, ge=1)


class Engine:
    """One base model with its adapters, loaded in this process. A context manager."""

    def __init__(
        self,
        model: str,
        *,
        adapters: Sequence[str] = (),
        devices: Sequence[int] = (),
        num_threads: int = 0,
        hub_url: str | None = None,
        **options: Any,
    ) -> None:
        """Load a model; `options` are the other fields of a ServeSpec.

        Raises:
            EngineError: an option is wrong, or a model cannot be used.
        """
        try:
            spec = ServeSpec(model=model, adapters=tuple(adapters), **options)
        except ValidationError as error:
            raise EngineError(Reason.BAD_SPEC, "\n".join(explain_problems(error))) from error
        prepare_process(num_threads)
        self._folder = tempfile.TemporaryDirectory(prefix="athanor-engine-")
        placement = Placement(
            run_dir=Path(self._folder.name),
            devices=tuple(devices),
            num_threads=num_threads,
            hub_url=hub_url,
        )
        try:
            self._use(open_backend(spec, placement, Emitter()), spec)
        except BaseException:
            self._folder.cleanup()
            raise

    @classmethod
    def around(cls, backend: Backend, spec: ServeSpec) -> "Engine":
        """Return an engine around a backend that is open; `close` closes it."""
        engine = cls.__new__(cls)
        engine._folder = tempfile.TemporaryDirectory(prefix="athanor-engine-")
        engine._use(backend, spec)
        return engine

    def _use(self, backend: Backend, spec: ServeSpec) -> None:
        self.backend = backend
        """What answers; for what this class has no word for."""
        self._model = spec.model
        self._window = spec.max_waiting

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End all answers and free the model."""
        self.backend.close()
        self._folder.cleanup()

    def list_models(self) -> list[str]:
        """Return the names that `model` may be, the base first."""
        return [model.name for model in self.backend.list_models()]

    def chat(self, messages: str | Turns, *, model: str | None = None, **parameters: Any) -> Answer:
        """Answer a conversation, or a text as a user's turn.

        `parameters` are those of `/v1/chat/completions`, by the same names.

        Raises:
            RequestRefused: it cannot be answered; names the parameter.
        """
        return self._answer_all([self._ask(_as_turns(messages), model, parameters)])[0]

    def generate(
        self, prompts: str | Sequence[Prompt], *, model: str | None = None, **parameters: Any
    ) -> list[Answer]:
        """Answer many prompts together, in their order: texts or token ids as they are, and
        conversations by the chat template.

        Raises:
            RequestRefused: one of them cannot be answered; none goes on.
        """
        given: Sequence[Prompt] = [prompts] if isinstance(prompts, str) else prompts
        return self._answer_all([self._ask(prompt, model, parameters) for prompt in given])

    def stream(
        self, messages: str | Turns, *, model: str | None = None, **parameters: Any
    ) -> Iterator[str]:
        """Yield an answer's text as it comes; leaving the loop ends the answer.

        Raises:
            RequestRefused: it cannot be answered; names the parameter.
        """
        if "tools" in parameters:
            raise RequestRefused(
                "bad_request", "tools: calls are no text; ask with chat.", field="tools"
            )
        asked = self._ask(_as_turns(messages), model, parameters)
        return (piece.text for _, piece in Answers(self.backend, asked) if piece.text)

    def embed(
        self, texts: str | Sequence[str], *, model: str | None = None
    ) -> list[tuple[float, ...]]:
        """Return a vector of length one for each text.

        Raises:
            RequestRefused: one of them cannot be embedded.
        """
        given = (texts,) if isinstance(texts, str) else tuple(texts)
        vectors = self.backend.embed(EmbedRequest(model or self._model, given))
        return [one.vector for one in vectors]

    def load_adapter(self, name: str, ref: str | None = None) -> None:
        """Make an adapter answer under a name; `ref` is its folder or repo, the same by default.

        Raises:
            RequestRefused: the name is taken.
            EngineError: it cannot be fetched or does not fit.
        """
        self.backend.load_adapter(name, ref or name)

    def unload_adapter(self, name: str) -> None:
        """Take an adapter away, once its answers have ended.

        Raises:
            RequestRefused: there is none of that name.
        """
        self.backend.unload_adapter(name)

    def _ask(self, prompt: Prompt, model: str | None, parameters: dict[str, Any]) -> Asked:
        if parameters.get("n", 1) != 1 or parameters.get("stream"):
            name = "stream" if parameters.get("stream") else "n"
            mend = "use stream()" if name == "stream" else "give the prompt several times"
            raise RequestRefused("bad_request", f"{name} is not for this: {mend}.", field=name)
        body = {"model": model or self._model, **parameters}
        if not isinstance(prompt, str) and prompt and isinstance(prompt[0], dict):
            return ask_chat(
                validate(ChatBody, {"messages": prompt, **body}), self.backend, Caller()
            )
        text = prompt if isinstance(prompt, str) else list(prompt)
        return ask_completion(
            validate(_PromptBody, body | {"prompt": text}), self.backend, Caller()
        )

    def _answer_all(self, asked: list[Asked]) -> list[Answer]:
        """Answer several at once, with no more under way than the queue has places."""
        pieces: queue.Queue[tuple[int, Piece]] = queue.Queue()
        under_way: dict[int, Gathering] = {}
        collected: list[list[Piece]] = [[] for _ in asked]
        num_begun = 0
        try:
            while num_begun < len(asked) or under_way:
                while num_begun < len(asked) and len(under_way) < self._window:
                    under_way[num_begun] = self._begin(asked[num_begun], num_begun, pieces)
                    num_begun += 1
                index, piece = pieces.get()
                check_piece(piece)
                asked[index].shape.push(0, piece)
                collected[index].append(piece)
                if piece.finish:
                    del under_way[index]
        finally:
            for gathering in under_way.values():
                gathering.abort()
        return [_read_answer(*pair) for pair in zip(asked, collected, strict=True)]

    def _begin(
        self, asked: Asked, index: int, pieces: "queue.Queue[tuple[int, Piece]]"
    ) -> Gathering:
        gathering = Gathering(self.backend, asked, lambda _, piece: pieces.put((index, piece)))
        gathering.begin_first()
        return gathering


def _as_turns(messages: str | Turns) -> Turns:
    return [{"role": "user", "content": messages}] if isinstance(messages, str) else messages


def _read_answer(asked: Asked, pieces: list[Piece]) -> Answer:
    whole = asked.shape.whole()
    choice, usage = whole["choices"][0], whole["usage"]
    message = choice.get("message", {})
    calls = [
        Call(call["id"], call["function"]["name"], call["function"]["arguments"])
        for call in message.get("tool_calls", [])
    ]
    return Answer(
        text=choice.get("text") or message.get("content") or "",
        finish=choice["finish_reason"],
        tool_calls=tuple(calls),
        logprobs=tuple(one for piece in pieces for one in piece.logprobs),
        num_prompt_tokens=usage["prompt_tokens"],
        num_cached_tokens=usage["prompt_tokens_details"]["cached_tokens"],
        num_tokens=usage["completion_tokens"],
    )
