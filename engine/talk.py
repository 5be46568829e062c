"""What is typed at the terminal in a chat: words to the model, and commands behind a slash."""

import json
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from engine.chat import Chat, show
from engine.errors import EngineError
from engine.serve.backend import ChatRequest, Piece, RequestRefused, Sampling

HISTORY = Path("~/.athanor_chat_history")
_MOST_LINES = 1000
_QUOTES = '"""'
_HELP = """\
/system TEXT       say who the model is; without a text, show it
/adapter NAME      go on with an adapter; `base` is the model alone; without a name, list them
/temperature X     0 is the likeliest answer each time, 2 is wild
/retry             answer the last question again
/tokens            count what the conversation takes
/save FILE         write the conversation as JSON
/load FILE         go on with one
/new               start over
/quit              leave
A line that ends with \\ goes on in the next; so does all between two lines of \"\"\".
Ctrl-C stops an answer."""


class Talk:
    """A conversation with whoever is at the terminal."""

    def __init__(self, chat: Chat, console: Console, history: Path = HISTORY) -> None:
        self._chat = chat
        self._console = console
        self._history = history.expanduser()
        self._sampling = Sampling(temperature=0.7, top_p=0.95)
        self._last: Piece | None = None
        self._commands: dict[str, Callable[[str], None]] = {
            "/system": self._set_system,
            "/adapter": self._set_adapter,
            "/temperature": self._set_temperature,
            "/retry": self._retry,
            "/tokens": self._count_tokens,
            "/save": self._save,
            "/load": self._load,
            "/new": self._start_over,
            "/help": lambda _: self._say(_HELP),
        }

    def run(self) -> None:
        """Read and answer until the end."""
        save_history = _keep_history(self._history)
        self._say("/help shows the commands, /quit leaves, Ctrl-C stops an answer.")
        try:
            while (text := self._read()) is not None:
                command, _, rest = text.partition(" ")
                if command in ("/quit", "/exit"):
                    return
                if command.startswith("/"):
                    self._do(command, rest.strip())
                elif text:
                    self._answer(text)
        finally:
            save_history()

    def _read(self) -> str | None:
        """Return what was typed, of several lines where they belong together; None at the end."""
        try:
            text = _read_line("you> ").strip()
            if text.startswith(_QUOTES):
                text = self._read_block(text.removeprefix(_QUOTES))
            while text.endswith("\\"):
                text = text.removesuffix("\\") + "\n" + _read_line("...> ").strip()
        except (EOFError, KeyboardInterrupt):
            return None
        return text

    def _read_block(self, first: str) -> str:
        lines = [first]
        while not lines[-1].rstrip().endswith(_QUOTES):
            lines.append(_read_line("...> "))
        return "\n".join(lines).strip().removesuffix(_QUOTES).strip()

    def _do(self, command: str, rest: str) -> None:
        try:
            self._commands.get(command, self._commands["/help"])(rest)
        except (RequestRefused, EngineError) as error:
            self._complain(error.message)
        except (OSError, ValueError) as error:
            self._complain(f"{command}: {error}")

    def _answer(self, text: str) -> None:
        try:
            self._last = self._chat.answer(text, self._sampling, show)
        except RequestRefused as refusal:
            self._complain(f"{refusal.message} /new starts over.")
            return
        print()
        if self._last.finish == "error":
            self._complain(self._last.message or "The model failed; see above.")

    def _set_system(self, text: str) -> None:
        turns = self._chat.turns
        has_one = bool(turns) and turns[0]["role"] == "system"
        if not text:
            self._say(turns[0]["content"] if has_one else "There is none; /system TEXT sets it.")
            return
        self._chat.turns = [{"role": "system", "content": text}, *turns[has_one:]]

    def _set_adapter(self, name: str) -> None:
        models = self._chat.backend.list_models()
        names = [model.name for model in models]
        if not name:
            for one in names:
                self._say(f"{'*' if one == self._chat.model else ' '} {one}")
            return
        wanted = names[0] if name == "base" else name
        if wanted not in names:
            self._chat.backend.load_adapter(wanted, wanted)
        self._chat.model = wanted

    def _set_temperature(self, text: str) -> None:
        value = float(text)
        if not 0 <= value <= 2:
            raise ValueError("write a number from 0 to 2")
        self._sampling = replace(self._sampling, temperature=value)

    def _retry(self, _: str) -> None:
        turns = self._chat.turns
        asked = next((i for i in range(len(turns) - 1, -1, -1) if turns[i]["role"] == "user"), None)
        if asked is None:
            raise ValueError("nothing was asked yet")
        self._chat.turns = turns[:asked]
        self._answer(turns[asked]["content"])

    def _count_tokens(self, _: str) -> None:
        chat = self._chat
        longest = {model.name: model.max_context for model in chat.backend.list_models()}
        num_tokens = 0
        if chat.turns:
            request = ChatRequest(model=chat.model, messages=tuple(chat.turns))
            num_tokens = len(chat.backend.tokenize(request))
        words = f"The conversation takes {num_tokens} of {longest.get(chat.model, 0)} tokens"
        if self._last:
            words += f", the last answer {self._last.num_tokens}"
        self._say(words + ".")

    def _save(self, name: str) -> None:
        if not name:
            raise ValueError("name a file")
        body = {"model": self._chat.model, "messages": self._chat.turns}
        path = Path(name).expanduser()
        path.write_text(json.dumps(body, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
        self._say(f"Written to {path}.")

    def _load(self, name: str) -> None:
        if not name:
            raise ValueError("name a file")
        turns = _read_turns(Path(name).expanduser())
        self._chat.turns = turns
        self._last = None
        self._say(f"{len(turns)} turns; the last says: {turns[-1]['content'][:200]}")

    def _start_over(self, _: str) -> None:
        kept = self._chat.turns[:1]
        self._chat.turns = [turn for turn in kept if turn["role"] == "system"]
        self._last = None

    def _say(self, words: str) -> None:
        self._console.print(words, style="dim", markup=False, highlight=False)

    def _complain(self, words: str) -> None:
        self._console.print(words, style="red", markup=False, highlight=False)


def _read_line(prompt: str) -> str:
    """Read a line, with arrow keys and history at a terminal; the prompt is for people only."""
    if sys.stdin.isatty():
        return input(prompt)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")


def _keep_history(path: Path) -> Callable[[], None]:
    """Let arrow keys bring back earlier lines; return what writes them, for their owner only."""
    if not sys.stdin.isatty():
        return lambda: None
    try:
        import readline
    except ImportError:  # Python was built without it
        return lambda: None
    with suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(_MOST_LINES)

    def save() -> None:
        with suppress(OSError):
            path.touch(mode=0o600)
            readline.write_history_file(path)

    return save


def _read_turns(path: Path) -> list[dict[str, Any]]:
    """Read a saved conversation.

    Raises:
        ValueError: it is none.
    """
    try:
        turns = json.loads(path.read_text(encoding="utf-8"))["messages"]
        is_good = bool(turns) and all(
            turn["role"] in ("system", "user", "assistant") and isinstance(turn["content"], str)
            for turn in turns
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no saved conversation") from error
    if not is_good:
        raise ValueError(f"{path} is no saved conversation")
    return [{"role": turn["role"], "content": turn["content"]} for turn in turns]
