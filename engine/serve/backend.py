"""The seam between the HTTP side of a server and what makes its tokens.

Plain values and one protocol: no torch, no HTTP. A backend may call back from a thread of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

FinishReason = Literal["stop", "length", "abort", "error"]


@dataclass(frozen=True)
class Sampling:
    """How an answer is drawn."""

    max_tokens: int | None = None
    """Most tokens of the answer; None is what the context leaves."""
    temperature: float = 1.0
    """0 takes the likeliest token each time."""
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    """Texts that end the answer; they are not part of it."""
    seed: int | None = None
    """The same seed, prompt and device draw the same answer; None draws a new one each time."""


@dataclass(frozen=True)
class ChatRequest:
    """One conversation to be continued by one model."""

    model: str
    """The base's name or the name of a loaded adapter."""
    messages: tuple[dict[str, str], ...]
    """`role` and `content` of each turn."""
    sampling: Sampling = Sampling()


@dataclass(frozen=True)
class Piece:
    """The next piece of an answer."""

    text: str
    """May be empty; pieces joined are the answer."""
    num_tokens: int
    """Tokens of the answer so far."""
    finish: FinishReason | None = None
    """Set on the last piece."""


OnPiece = Callable[[Piece], None]


@dataclass(frozen=True)
class ServedModel:
    """A name that requests may ask for."""

    name: str
    base: str | None
    """Of an adapter, the name of its base."""
    max_context: int


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

    def submit(self, request: ChatRequest, on_piece: OnPiece) -> Generation:
        """Queue a request and return at once; `on_piece` is called from the backend's thread.

        Raises:
            RequestRefused: the request cannot be answered.
        """
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

    def close(self) -> None:
        """Abort everything and free the model."""
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


class ServerClosing(RequestRefused):
    """The server is going down."""

    status = 503

    def __init__(self) -> None:
        super().__init__("server_closing", "The server is going down; try again in a moment.")
