"""Chat with a model in the terminal: the server's own backend without the server.

Model libraries are loaded when a chat starts, after the process is prepared for them.
"""

import queue
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.runtime import prepare_process
from engine.serve.backend import Backend, ChatRequest, FinishReason, RequestRefused, Sampling
from engine.spec_file import explain_problems
from engine.specs import Placement, ServeSpec
from engine.status import Reason

Turns = list[dict[str, str]]

_HELP = "/new starts over, /quit leaves, Ctrl-C stops an answer."


def run_chat(model: str, adapter: str | None = None, prompt: str | None = None) -> None:
    """Answer `prompt` on stdout and return; without one, talk with whoever is at the terminal.

    An answer to `prompt` is greedy, so that it can be compared; a talk is drawn at 0.7.

    Raises:
        EngineError: the model or the adapter cannot be used, or the prompt is too long.
    """
    prepare_process(0)
    from engine.serve.native import open_native

    try:
        spec = ServeSpec(model=model, adapters=(adapter,) if adapter else ())
    except ValidationError as error:
        raise EngineError(Reason.BAD_SPEC, "\n".join(explain_problems(error))) from error
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder, console.status("Loading the model"):
        backend = open_native(spec, Placement(run_dir=Path(folder)), Emitter())
    chat = Chat(backend, adapter or model)
    try:
        if prompt is None:
            _talk(chat, console)
        else:
            finish = chat.answer(prompt, Sampling(temperature=0), _print)
            print()
            if finish == "error":
                raise EngineError(Reason.INTERNAL_ERROR, "The model failed; see above.")
    except RequestRefused as refusal:
        raise EngineError(Reason.BAD_DATA, refusal.message) from refusal
    finally:
        backend.close()


class Chat:
    """One conversation."""

    def __init__(self, backend: Backend, model: str) -> None:
        self._backend = backend
        self._model = model
        self.turns: Turns = []

    def answer(self, text: str, sampling: Sampling, show: Callable[[str], None]) -> FinishReason:
        """Show the answer to `text` as it comes, and keep both; Ctrl-C keeps what came."""
        pieces: queue.Queue = queue.Queue()
        turns = [*self.turns, {"role": "user", "content": text}]
        request = ChatRequest(model=self._model, messages=tuple(turns), sampling=sampling)
        generation = self._backend.submit(request, pieces.put)
        said: list[str] = []
        finish: FinishReason | None = None
        while finish is None:
            try:
                piece = pieces.get()
            except KeyboardInterrupt:
                generation.abort()
                continue
            said.append(piece.text)
            show(piece.text)
            finish = piece.finish
        self.turns = [*turns, {"role": "assistant", "content": "".join(said)}]
        return finish


def _talk(chat: Chat, console: Console) -> None:
    console.print(_HELP, style="dim")
    while True:
        try:
            text = console.input("[bold cyan]you>[/] ").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if text in ("/quit", "/exit"):
            return
        if text == "/new":
            chat.turns = []
        elif text.startswith("/"):
            console.print(_HELP, style="dim")
        elif text:
            _answer_aloud(chat, text, console)


def _answer_aloud(chat: Chat, text: str, console: Console) -> None:
    try:
        finish = chat.answer(text, Sampling(temperature=0.7, top_p=0.95), _print)
    except RequestRefused as refusal:
        console.print(f"{refusal.message} /new starts over.", style="red")
        return
    print()
    if finish == "error":
        console.print("The model failed; see above.", style="red")


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
