"""The seam between the HTTP side of a server and what makes its tokens.

Plain values and one protocol: no torch, no HTTP. A backend may call back from a thread of its own.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

FinishReason = Literal["stop", "length", "abort", "error"]


@dataclass(frozen=True)
class Constraint:
    """What the whole answer must match."""

    kind: Literal["json_object", "json_schema", "regex", "grammar"]
    text: str = ""
    """The schema as JSON, the pattern, or the grammar in llguidance's Lark, where `%json {...}` is
    a value of that schema and `<[17]>` is one token; empty for any JSON object."""
    field: Literal["", "tools"] = field(default="", compare=False)
    """What it was made of, for refusals, where that is not the parameter of its kind."""


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn."""

    max_tokens: int | None = None
    """Most tokens of the answer; None is what the context leaves."""
    temperature: float = 1.0
    """0 takes the likeliest token each time."""
    top_k: int = 0
    """Draw from so many likeliest tokens; 0 draws from all."""
    top_p: float = 1.0
    min_p: float = 0.0
    """Drop tokens less likely than this share of the likeliest."""
    repetition_penalty: float = 1.0
    """Divides the logit, where positive, of what prompt or answer holds (arXiv 1909.05858, 4.1)."""
    frequency_penalty: float = 0.0
    """Taken off a token's logit for each time that the answer holds it."""
    presence_penalty: float = 0.0
    """Taken off a token's logit once the answer holds it."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Added to the logits of these tokens."""
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""
    stop_token_ids: tuple[int, ...] = ()
    """Tokens that end it beside the model's own."""
    ignores_end: bool = False
    """Go on past the model's end tokens, up to `max_tokens`."""
    seed: int | None = None
    """The same seed, prompt and device draw the same answer; None draws a new one each time."""
    num_logprobs: int | None = None
    """Give each token's log-probability and those of so many likeliest; None gives none."""
    constraint: Constraint | None = None
    shows_special: tuple[str, ...] = ()
    """Special tokens that are part of the text all the same, such as the marks of tool calls."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is common to all that a backend is asked."""

    model: str
    """The base's name or the name of a loaded adapter."""
    sampling: Sampling = Sampling()
    tenant: str = ""
    """Whose request it is: the queue is fair between tenants, and none meets another's prefixes."""
    deadline_s: float | None = None
    """Seconds from now after which nobody waits for it: refused or ended by then."""


@dataclass(frozen=True, kw_only=True)
class ChatRequest(Request):
    """One conversation to be continued by one model."""

    messages: tuple[dict[str, Any], ...] = ()
    """Turns as chat templates take them."""
    tools: tuple[dict[str, Any], ...] = ()
    """Functions that the model is told of, in OpenAI's shape."""
    tool_choice: str = "auto"
    """auto, required, or `=` and the name of the function to call: for a backend that asks another
    server. To one that draws tokens itself, the sampling's constraint says the same."""
    parallel_tool_calls: bool = True
    """Whether one answer may call several; for the same backends."""


@dataclass(frozen=True, kw_only=True)
class TextRequest(Request):
    """A text to be continued as it is, without a chat template."""

    prompt: str | tuple[int, ...] = ""
    """A text, or token ids."""


@dataclass(frozen=True)
class TokenLogprob:
    """One token of an answer and what was likely there."""

    token_id: int
    token: str
    logprob: float
    """Natural logarithm, of the model's own distribution before temperature."""
    top: tuple[tuple[int, str, float], ...] = ()
    """The likeliest at this place: id, text, log-probability."""


@dataclass(frozen=True)
class Usage:
    """What an answer cost."""

    num_prompt_tokens: int
    num_cached_tokens: int
    """Prompt tokens whose keys and values lay ready."""
    num_tokens: int
    queue_s: float
    """From when it came to its first step."""
    prefill_s: float
    """Its share of the steps up to its first token: shared out by tokens, so that the shares of all
    requests add up to the time that the server was busy."""
    decode_s: float
    """Its share of the steps after."""


@dataclass(frozen=True)
class Piece:
    """The next piece of an answer."""

    text: str
    """May be empty; pieces joined are the answer."""
    num_tokens: int
    """Tokens of the answer so far."""
    finish: FinishReason | None = None
    """Set on the last piece."""
    logprobs: tuple[TokenLogprob, ...] = ()
    """Of the tokens that came with this piece, where asked for."""
    usage: Usage | None = None
    """On the last piece; up to its first token, also on the first."""
    message: str = ""
    """Of an error: one sentence for the caller."""


OnPiece = Callable[[Piece], None]


@dataclass(frozen=True)
class ServedModel:
    """A name that requests may ask for."""

    name: str
    base: str | None
    """Of an adapter, the name of its base."""
    max_context: int


@dataclass(frozen=True)
class EmbedRequest:
    """Texts to be turned into vectors."""

    model: str
    texts: tuple[str | tuple[int, ...], ...]
    tenant: str = ""
    deadline_s: float | None = None
    """As of a `Request`; of all texts together."""


class Departure:
    """Tells work under way that its caller has left; from any thread, once."""

    def __init__(self) -> None:
        """Nobody has left."""
        self._lock = threading.Lock()
        self._then: list[Callable[[], None]] = []
        self.has_left = False

    def leave(self) -> None:
        """Say that the caller has left."""
        with self._lock:
            self.has_left = True
            calls, self._then = self._then, []
        for call in calls:
            call()

    def then(self, call: Callable[[], None]) -> None:
        """Have something called when the caller leaves, at once where they have."""
        with self._lock:
            if not self.has_left:
                self._then.append(call)
                return
        call()


@dataclass(frozen=True)
class Embedding:
    """The mean of a text's last hidden states, scaled to length one."""

    vector: tuple[float, ...]
    num_tokens: int
    queue_s: float = 0.0
    """As in `Usage`."""
    prefill_s: float = 0.0


@dataclass(frozen=True)
class BackendFacts:
    """What a backend is, and how busy. Counts only ever grow, but for those that say "now"."""

    engine: str
    """Name and version: native/0.1.0."""
    device: str
    """cpu, cuda:0."""
    quantization: str
    """none, int8, int4, and how: the spec's words."""
    chat_template: str
    """As the tokenizer has it; empty where it has none."""
    num_running_now: int = 0
    num_waiting_now: int = 0
    num_blocks: int = 0
    num_blocks_used_now: int = 0
    num_steps: int = 0
    last_step_age_s: float = 0.0
    """Seconds since the last step ended while there was work; 0 when idle."""
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0
    num_tokens: int = 0
    num_preemptions: int = 0
    num_finished: int = 0
    num_failed: int = 0
    busy_s: float = 0.0
    """Time spent in steps."""
    fingerprints: tuple[tuple[str, str], ...] = ()
    """By served name, what answers under it: base, adapter, template, engine, and all precisions
    and kinds of arithmetic in one digest (`system_fingerprint`)."""


class Generation(Protocol):
    """An answer under way."""

    @property
    def num_prompt_tokens(self) -> int:
        """Tokens of the rendered conversation."""
        ...

    def abort(self) -> None:
        """End it soon, from any thread; a last piece with `abort` follows unless it was over."""
        ...


class Backend(Protocol):
    """One base model with any number of adapters. Every method may be called from any thread."""

    def list_models(self) -> list[ServedModel]:
        """Return the base first, then the loaded adapters by name."""
        ...

    def submit(self, request: ChatRequest | TextRequest, on_piece: OnPiece) -> Generation:
        """Queue a request and return at once; `on_piece` is called from the backend's thread.

        Raises:
            RequestRefused: the request cannot be answered.
        """
        ...

    def embed(self, request: EmbedRequest, departure: Departure | None = None) -> list[Embedding]:
        """Return a vector for each text, when all are there.

        A caller who leaves, as `departure` tells, ends the work within a step where the backend
        does it itself.

        Raises:
            RequestRefused: one of them cannot be embedded, or their caller has left.
        """
        ...

    def tokenize(self, request: ChatRequest | TextRequest) -> list[int]:
        """Return the token ids that a request's prompt becomes.

        Raises:
            RequestRefused: the template refuses it.
        """
        ...

    def detokenize(self, model: str, token_ids: Sequence[int]) -> str:
        """Return the text of token ids, special tokens included."""
        ...

    def describe(self) -> BackendFacts:
        """Say what it is and how busy."""
        ...

    def load_adapter(self, name: str, ref: str) -> None:
        """Make an adapter answer under `name`; done when it returns, and no change when it was.

        Raises:
            RequestRefused: the name is taken by another, or the adapter cannot be used.
        """
        ...

    def unload_adapter(self, name: str) -> None:
        """Take a name away: new requests are refused at once, those under way end in peace.

        Returns when the adapter is gone.

        Raises:
            RequestRefused: there is no adapter of that name.
        """
        ...

    def is_healthy(self) -> bool:
        """Say whether it still makes tokens."""
        ...

    def close(self, drain_s: float = 0.0) -> None:
        """Take no more, let what is under way go on for up to `drain_s`, then abort it."""
        ...


class HeldModel(Protocol):
    """What answers under a name, kept for one caller whatever the name comes to mean meanwhile."""

    @property
    def fingerprint(self) -> str | None:
        """Of what is kept, as in `BackendFacts.fingerprints`; None where the backend tells none."""
        ...

    def submit(self, request: ChatRequest | TextRequest, on_piece: OnPiece) -> Generation:
        """Queue a request to what is kept, whatever `request.model` says; see `Backend.submit`.

        Raises:
            RequestRefused: it cannot be answered, or the model was let go.
        """
        ...

    def let_go(self) -> None:
        """Keep it no longer, from any thread: what was submitted goes on. Again: nothing."""
        ...


@runtime_checkable
class HoldingBackend(Protocol):
    """A backend that knows what lies behind its names, and so can keep it."""

    def hold(self, model: str) -> HeldModel:
        """Keep what answers under a name, until it is let go: `unload_adapter` waits for that.

        Raises:
            ModelUnknown: nothing answers under it.
        """
        ...


class RequestRefused(Exception):
    """A request that cannot be answered: one sentence for its author, and where to look."""

    status = 400

    def __init__(self, code: str, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


class ModelUnknown(RequestRefused):
    """There is no model of that name here."""

    status = 404

    def __init__(self, name: str, *, field: str = "model") -> None:
        super().__init__(
            "model_not_found", f"The model {name} is not served here; see /v1/models.", field=field
        )


class QueueFull(RequestRefused):
    """As many requests wait as may wait."""

    status = 429

    def __init__(self, max_waiting: int, retry_after_s: int) -> None:
        super().__init__(
            "queue_full",
            f"{max_waiting} requests are waiting already; try again in {retry_after_s} s.",
        )
        self.retry_after_s = retry_after_s


class WaitTooLong(QueueFull):
    """Its turn would come after its deadline."""

    def __init__(self, wait_s: float, deadline_s: float, retry_after_s: int) -> None:
        RequestRefused.__init__(
            self,
            "deadline_too_near",
            f"Its turn would come in about {wait_s:.1f} s, after its deadline of "
            f"{deadline_s:.1f} s; try again in {retry_after_s} s.",
        )
        self.retry_after_s = retry_after_s


class EmbedFailed(RequestRefused):
    """A text that was taken and has no vector: it failed, or its deadline has passed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.status = 500 if code == "failed" else 503


class ServerClosing(RequestRefused):
    """The server is going down."""

    status = 503

    def __init__(self) -> None:
        super().__init__("server_closing", "The server is going down; try again in a moment.")
