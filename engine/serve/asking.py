"""From a body to answers under way: whose it is, which model is meant, and how many are begun.

Shared by all doors: HTTP, gRPC, the Python API and Triton's model. No HTTP here.
"""

import queue
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.serve.answer_shape import AnswerHead, AnswerShape
from engine.serve.backend import (
    Backend,
    ChatRequest,
    Generation,
    HeldModel,
    HoldingBackend,
    OnPiece,
    Piece,
    RequestRefused,
    ServedModel,
    TextRequest,
)
from engine.serve.callers import Caller
from engine.serve.chat_shapes import ChatAnswer, ChatBody
from engine.serve.completion_shapes import CompletionAnswer, CompletionBody
from engine.serve.openai_shapes import validate
from engine.serve.other_shapes import TokenizeBody
from engine.serve.tool_calls import ToolFormat, ToolParser
from engine.serve.tools import FindToken, constrain_tools, detect_format, list_marks, tell_tools
from engine.specs import split_ref

_SEEDS = 2**63


@dataclass(frozen=True)
class Asked:
    """What a body asks for."""

    groups: tuple[tuple[ChatRequest | TextRequest, ...], ...]
    """Requests that share a prompt stand together, and answers are numbered through."""
    shape: AnswerShape


class AnswerFailed(RequestRefused):
    """An answer that was begun and cannot be finished."""

    status = 500

    def __init__(self, piece: Piece) -> None:
        is_error = piece.finish == "error"
        message = "The model failed on this request; the server's log says why."
        if not is_error:
            message = "The server ended this answer before it was done; try again."
        super().__init__("failed" if is_error else "aborted", piece.message or message)
        if not is_error:
            self.status = 503


def ask_chat(body: ChatBody, backend: Backend, caller: Caller) -> Asked:
    """Return what a chat's body asks for.

    Raises:
        RequestRefused: two of its parameters do not go together.
    """
    body.check()
    model = resolve_model(body.model, backend.list_models())
    sampling = body.to_sampling(
        max_tokens=body.max_completion_tokens or body.max_tokens,
        num_logprobs=body.top_logprobs if body.logprobs else None,
    )
    request = ChatRequest(
        model=model,
        messages=tuple(body.to_turns()),
        tools=body.usable_tools,
        tool_choice=body.wanted_call,
        parallel_tool_calls=body.parallel_tool_calls,
        sampling=sampling,
        tenant=caller.tenant,
        deadline_s=caller.deadline_s,
    )
    parsers: list[ToolParser | None] = [None] * body.n
    if request.tools or any(_is_about_tools(turn) for turn in request.messages):
        find_token = _TokenFinder(backend, model)
        form = detect_format(backend.describe().chat_template, find_token)
        if request.tools:
            parsers = [_make_parser(form, request) for _ in range(body.n)]
        request = _bind_tools(request, form, find_token)
    head = _make_head("chatcmpl", body.model, caller)
    shape = ChatAnswer(head, parsers, wants_logprobs=body.logprobs)
    return Asked((_repeat(request, body.n),), shape)


def ask_tokens(body: TokenizeBody, backend: Backend) -> ChatRequest | TextRequest:
    """Return the request whose prompt a body asks the tokens of.

    Raises:
        RequestRefused: it has both a prompt and messages, or neither, or tools for a prompt.
    """
    if (body.prompt is None) == (body.messages is None):
        raise RequestRefused("bad_request", "Give either prompt or messages.", field="prompt")
    if body.prompt is not None:
        if body.tools:
            message = "tools: they go with messages; a prompt is taken as it is: leave them out."
            raise RequestRefused("bad_request", message, field="tools")
        model = resolve_model(body.model, backend.list_models())
        return TextRequest(model=model, prompt=body.prompt)
    chat = validate(ChatBody, body.model_dump(exclude_unset=True, exclude={"prompt"}))
    request = ask_chat(chat, backend, Caller()).groups[0][0]
    assert isinstance(request, ChatRequest)
    return request


def ask_completion(body: CompletionBody, backend: Backend, caller: Caller) -> Asked:
    """Return what a completion's body asks for.

    Raises:
        RequestRefused: two of its parameters do not go together.
    """
    body.check()
    model = resolve_model(body.model, backend.list_models())
    sampling = body.to_sampling(num_logprobs=body.logprobs)
    prompts = body.list_prompts()
    groups, echoes = [], []
    for prompt in prompts:
        request = TextRequest(
            model=model,
            prompt=prompt,
            sampling=sampling,
            tenant=caller.tenant,
            deadline_s=caller.deadline_s,
        )
        groups.append(_repeat(request, body.n))
        echo = ""
        if body.echo:
            echo = prompt if isinstance(prompt, str) else backend.detokenize(model, prompt)
        echoes += [echo] * body.n
    head = _make_head("cmpl", body.model, caller)
    shape = CompletionAnswer(
        head, echoes, num_prompts=len(prompts), wants_logprobs=body.logprobs is not None
    )
    return Asked(tuple(groups), shape)


def resolve_model(name: str, models: Sequence[ServedModel]) -> str:
    """Return the served name that `name` means: itself, or the adapter of `base+adapter@revision`.

    What is not served is returned as it is: the backend refuses it.
    """
    served = {model.name: model for model in models}
    base, plus, adapter = name.partition("+")
    if name in served or not plus:
        return name
    for model in models:
        if model.base and _is_same(model.base, base) and _is_same(model.name, adapter):
            return model.name
    return name


class Gathering:
    """The answers to what was asked, as the backend makes them.

    All of them stand on what the model's name meant when the first was begun: it is held from then
    until the last is begun.
    """

    def __init__(
        self, backend: Backend, asked: Asked, on_piece: Callable[[int, Piece], None]
    ) -> None:
        """`on_piece` is called from the backend's thread with the answer's number."""
        self._backend = backend
        self._groups = asked.groups
        self._shape = asked.shape
        self._on_piece = on_piece
        self._lock = threading.Lock()  # guards what follows
        self._held: HeldModel | None = None
        self._generations: list[Generation] = []
        self._is_over = False
        self.num_first = len(asked.groups)
        self.num_answers = sum(map(len, asked.groups))

    @property
    def has_more(self) -> bool:
        """Say whether some prompt is to be answered more than once."""
        return self.num_answers > self.num_first

    def begin_first(self) -> None:
        """Submit each prompt once, and tell the shape what is known by then.

        Raises:
            RequestRefused: one of them cannot be answered; none goes on.
        """
        held = self._hold()
        index = num_prompt_tokens = 0
        for group in self._groups:
            num_prompt_tokens += self._submit(held, group[0], index).num_prompt_tokens
            index += len(group)
        self._shape.begin(num_prompt_tokens, held.fingerprint)
        if not self.has_more:
            held.let_go()

    def begin_more(self) -> None:
        """Submit the rest, once the first have a piece: their prompts lie ready by then.

        Raises:
            RequestRefused: one of them cannot be answered; none goes on.
        """
        assert self._held is not None, "begin_first comes before"
        index = 0
        for group in self._groups:
            for offset, request in enumerate(group[1:], start=1):
                self._submit(self._held, request, index + offset)
            index += len(group)
        self._held.let_go()

    def abort(self) -> None:
        """End all of them, from any thread; asked again it changes nothing."""
        with self._lock:
            self._is_over = True
            begun, self._generations = self._generations, []
            held = self._held
        for generation in begun:
            generation.abort()
        if held is not None:
            held.let_go()

    def _hold(self) -> HeldModel:
        backend, model = self._backend, self._groups[0][0].model
        held: HeldModel
        if isinstance(backend, HoldingBackend):
            held = backend.hold(model)
        else:
            held = _NamedModel(backend, model)
        with self._lock:
            self._held = held
            is_over = self._is_over
        if is_over:  # it was aborted before there was anything to let go
            held.let_go()
        return held

    def _submit(
        self, held: HeldModel, request: ChatRequest | TextRequest, index: int
    ) -> Generation:
        try:
            generation = held.submit(request, lambda piece: self._on_piece(index, piece))
        except BaseException:
            self.abort()
            raise
        with self._lock:
            self._generations.append(generation)
            is_over = self._is_over
        if is_over:
            self.abort()
        return generation


class _NamedModel:
    """Implements `HeldModel` for a backend that asks another server, which goes by names."""

    def __init__(self, backend: Backend, model: str) -> None:
        self._backend = backend
        self.fingerprint = dict(backend.describe().fingerprints).get(model)

    def submit(self, request: ChatRequest | TextRequest, on_piece: OnPiece) -> Generation:
        return self._backend.submit(request, on_piece)

    def let_go(self) -> None:
        pass


class Answers:
    """The answers to what was asked, piece by piece in the thread that reads them."""

    def __init__(self, backend: Backend, asked: Asked) -> None:
        """Submit what is asked.

        Raises:
            RequestRefused: it cannot be answered.
        """
        self._pieces: queue.Queue[tuple[int, Piece]] = queue.Queue()
        self._gathering = Gathering(
            backend, asked, lambda index, piece: self._pieces.put((index, piece))
        )
        self._gathering.begin_first()

    def abort(self) -> None:
        """End what is under way, from any thread."""
        self._gathering.abort()

    def __iter__(self) -> Iterator[tuple[int, Piece]]:
        """Yield the pieces with the numbers of their answers, as they come.

        Closing the iterator aborts what is under way.

        Raises:
            RequestRefused: not all can be begun; AnswerFailed where one broke off.
        """
        gathering = self._gathering
        begun: set[int] = set()
        num_open, is_waiting = gathering.num_answers, gathering.has_more
        try:
            while num_open:
                index, piece = self._pieces.get()
                check_piece(piece)
                begun.add(index)
                if is_waiting and len(begun) == gathering.num_first:
                    gathering.begin_more()
                    is_waiting = False
                num_open -= bool(piece.finish)
                yield index, piece
        finally:
            gathering.abort()


def check_piece(piece: Piece) -> None:
    """Refuse a piece that says that its answer broke off.

    Raises:
        AnswerFailed: it does.
    """
    if piece.finish in ("error", "abort"):
        raise AnswerFailed(piece)


def _is_about_tools(turn: dict[str, Any]) -> bool:
    return turn["role"] == "tool" or bool(turn.get("tool_calls"))


def _make_parser(form: ToolFormat, request: ChatRequest) -> ToolParser:
    names = [tool["function"]["name"] for tool in request.tools]
    return ToolParser(form, names, most_calls=None if request.parallel_tool_calls else 1)


def _bind_tools(request: ChatRequest, form: ToolFormat, find_token: FindToken) -> ChatRequest:
    """Tell the model of its tools in its own format, and hold it to calls where they must come."""
    sampling = request.sampling
    if request.tools:
        sampling = replace(sampling, shows_special=list_marks(form))
    if request.tools and request.tool_choice != "auto":
        constraint = constrain_tools(
            form,
            request.tools,
            request.tool_choice,
            is_parallel=request.parallel_tool_calls,
            find_token=find_token,
        )
        sampling = replace(sampling, constraint=constraint)
    turns, tools = tell_tools(form, request.messages, request.tools)
    return replace(request, messages=tuple(turns), tools=tuple(tools), sampling=sampling)


class _TokenFinder:
    """Finds marks that are one token; a text twice is then one token longer."""

    def __init__(self, backend: Backend, model: str) -> None:
        self._backend = backend
        self._model = model

    def __call__(self, text: str) -> int | None:
        try:
            once, twice = (
                self._backend.tokenize(TextRequest(model=self._model, prompt=text * times))
                for times in (1, 2)
            )
        except RequestRefused:  # a backend without a tokenizer at hand
            return None
        return twice[-1] if len(twice) == len(once) + 1 else None


def _repeat(request: ChatRequest | TextRequest, n: int) -> tuple[ChatRequest | TextRequest, ...]:
    """Return the request `n` times; a seed goes up, so that the answers are not all the same."""
    seed = request.sampling.seed
    if seed is None:
        return (request,) * n
    return tuple(
        replace(request, sampling=replace(request.sampling, seed=_add_seed(seed, index)))
        for index in range(n)
    )


def _add_seed(seed: int, index: int) -> int:
    return (seed + index + _SEEDS) % (2 * _SEEDS) - _SEEDS


def _make_head(prefix: str, model: str, caller: Caller) -> AnswerHead:
    return AnswerHead(f"{prefix}-{uuid.uuid4().hex}", model, tells_time=caller.tells_time)


def _is_same(served: str, named: str) -> bool:
    return served == named or split_ref(served) == split_ref(named)
