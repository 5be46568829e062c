"""Chat with a model in the terminal: the server's own backend without the server, or another's.

Model libraries are loaded when a chat starts, after the process is prepared for them. What is typed
at the terminal is read by `engine/talk.py`.
"""

import queue
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.runtime import prepare_process
from engine.serve.backend import Backend, ChatRequest, Piece, RequestRefused, Sampling
from engine.spec_file import explain_problems
from engine.specs import Placement, ServeSpec
from engine.status import Reason

Turns = list[dict[str, Any]]
_ANY_CONTEXT = 1_000_000  # of a server that does not tell its own


@dataclass(frozen=True)
class ChatOptions:
    """What a chat is begun with."""

    model: str
    """Folder or repo of the base; at an address, the name that it has there."""
    adapter: str | None = None
    url: str | None = None
    """OpenAI-compatible address up to /v1; None loads the model here."""
    api_key: str | None = None
    """Token for that address."""
    place: Placement = Placement(run_dir=Path())
    """Devices, threads and hub of a model that is loaded here; the run folder is the chat's own."""


def run_chat(options: ChatOptions, prompt: str | None = None) -> None:
    """Answer `prompt` on stdout and return; without one, talk with whoever is at the terminal.

    An answer to `prompt` is greedy, so that it can be compared; a talk is drawn at 0.7.

    Raises:
        EngineError: the model or the adapter cannot be used, or the prompt is too long.
    """
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder:
        with console.status("Loading the model"):
            backend = _open(options, Path(folder))
        try:
            chat = Chat(backend, options.adapter or backend.list_models()[0].name)
            if prompt is None:
                from engine.talk import Talk

                Talk(chat, console).run()
                return
            last = chat.answer(prompt, Sampling(temperature=0), show)
            print()
            if last.finish != "stop" and last.finish != "length":
                raise EngineError(Reason.INTERNAL_ERROR, last.message or "The model failed.")
        except RequestRefused as refusal:
            raise EngineError(Reason.BAD_DATA, refusal.message) from refusal
        finally:
            backend.close()


class Chat:
    """One conversation."""

    def __init__(self, backend: Backend, model: str) -> None:
        self.backend = backend
        self.model = model
        self.turns: Turns = []

    def answer(self, text: str, sampling: Sampling, show: Callable[[str], None]) -> Piece:
        """Show the answer to `text` as it comes, and keep both; Ctrl-C keeps what came.

        Returns the last piece.

        Raises:
            RequestRefused: it cannot be answered; nothing is kept.
        """
        pieces: queue.Queue[Piece] = queue.Queue()
        turns = [*self.turns, {"role": "user", "content": text}]
        request = ChatRequest(model=self.model, messages=tuple(turns), sampling=sampling)
        generation = self.backend.submit(request, pieces.put)
        said: list[str] = []
        while True:
            try:
                piece = pieces.get()
            except KeyboardInterrupt:
                generation.abort()
                continue
            said.append(piece.text)
            show(piece.text)
            if piece.finish:
                break
        self.turns = [*turns, {"role": "assistant", "content": "".join(said)}]
        return piece


def show(text: str) -> None:
    """Print a piece of an answer at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def _open(options: ChatOptions, folder: Path) -> Backend:
    prepare_process(options.place.num_threads)
    if options.url:
        from engine.serve.backends.remote import open_url

        return open_url(options.url, options.model, options.api_key, max_context=_ANY_CONTEXT)
    from engine.serve.backends import open_backend

    try:
        adapters = (options.adapter,) if options.adapter else ()
        spec = ServeSpec(model=options.model, adapters=adapters)
    except ValidationError as error:
        raise EngineError(Reason.BAD_SPEC, "\n".join(explain_problems(error))) from error
    place = options.place.model_copy(update={"run_dir": folder})
    return open_backend(spec, place, Emitter())
