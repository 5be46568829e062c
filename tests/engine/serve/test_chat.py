"""Chat in the terminal: once, in turns, with commands, and what it says of mistakes."""

import io
import json
import os
import pty
import subprocess
import sys

import pytest
from rich.console import Console

from engine.chat import Chat, ChatOptions, run_chat
from engine.errors import EngineError
from engine.serve.backend import Piece, Sampling
from engine.talk import Talk
from tests.engine.serve.scripted import Scripted
from tests.engine.serve.tiny_models import GREEDY, ask, open_backend, serve_backend


@pytest.fixture
def type_lines(monkeypatch):
    """Types lines at the prompt."""

    def type_them(*lines: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return type_them


def echo(request) -> str:
    return f"{request.messages[-1]['content']}!"


@pytest.fixture
def talk(type_lines, capsys, tmp_path):
    """Type lines to a scripted model; gives the backend, the chat, and what was shown and said."""

    def run(*lines: str, script=echo):
        backend = Scripted(script, adapters=["me/red"])
        chat = Chat(backend, "base")
        type_lines(*lines)
        Talk(chat, Console(stderr=True, width=200), tmp_path / "history").run()
        shown = capsys.readouterr()
        return backend, chat, shown.out, shown.err

    return run


def test_a_prompt_is_answered_once_and_greedily(base, red, capsys):
    with open_backend(base, adapters=(str(red),), precision="bf16", max_context=64) as backend:
        wanted = [ask(backend, str(name), Sampling(temperature=0)) for name in (base, red)]
    for adapter, answer in zip((None, str(red)), wanted, strict=True):
        run_chat(ChatOptions(str(base), adapter), "Hello")
        assert capsys.readouterr().out.startswith(answer.rstrip("\ufffd"))


def test_an_answer_sees_the_turns_before_it(base):
    with open_backend(base) as backend:
        chat = Chat(backend, str(base))
        for text in ("one", "two"):
            chat.answer(text, GREEDY, lambda piece: None)
        alone = ask(backend, str(base), GREEDY, tuple(chat.turns[:3]))
    assert [turn["role"] for turn in chat.turns] == ["user", "assistant"] * 2
    assert chat.turns[3]["content"] == alone


def test_a_talk_survives_a_text_that_does_not_fit(base, capsys, type_lines):
    type_lines("long" * 200, "/new", "short", "/quit")
    run_chat(ChatOptions(str(base)))
    said = capsys.readouterr()
    assert said.err.count("shorten the messages") == 1
    assert len(said.out) > 1


def test_a_server_elsewhere_can_be_talked_to(capsys, type_lines):
    backend = Scripted(echo, base="their-model")
    with serve_backend(backend, token="secret") as url:
        run_chat(ChatOptions("their-model", url=f"{url}/v1", api_key="secret"), "Hi")
        assert capsys.readouterr().out == "Hi!\n"
        type_lines("One", "Two", "/tokens")
        run_chat(ChatOptions("their-model", url=f"{url}/v1", api_key="secret"))
        shown = capsys.readouterr()
        assert shown.out == "One!\nTwo!\n"
        assert "takes 14 of 4096 tokens, the last answer 4." in shown.err
        with pytest.raises(EngineError, match="asks for another token"):
            run_chat(ChatOptions("their-model", url=f"{url}/v1"), "Hi")


def test_a_word_after_a_slash_that_we_do_not_know_shows_the_help(talk):
    _, _, _, said = talk("/what", "")
    assert said.count("/temperature X") == 1


def test_the_system_prompt_stands_first_and_outlives_a_new_start(talk):
    backend, chat, _, said = talk("/system", "Hi", "/system Be kind.", "/new", "/system", "Ho")
    assert "There is none" in said
    assert "Be kind." in said
    assert [turn["content"] for turn in backend.asked[-1].messages] == ["Be kind.", "Ho"]
    assert len(chat.turns) == 3


def test_an_adapter_is_listed_chosen_and_loaded(talk):
    backend, _, _, said = talk(
        "/adapter", "/adapter me/red", "a", "/adapter base", "b", "/adapter x", "c"
    )
    assert "* base" in said
    assert [request.model for request in backend.asked] == ["me/red", "base", "x"]


def test_the_temperature_is_set_within_its_bounds(talk):
    backend, _, _, said = talk(
        "a", "/temperature 0", "b", "/temperature 3", "/temperature hot", "c"
    )
    assert [request.sampling.temperature for request in backend.asked] == [0.7, 0.0, 0.0]
    assert said.count("/temperature:") == 2


def test_retry_asks_the_last_question_again(talk):
    backend, chat, shown, said = talk("/retry", "one", "two", "/retry")
    assert "nothing was asked yet" in said
    assert shown == "one!\ntwo!\ntwo!\n"
    assert backend.asked[-1].messages == backend.asked[-2].messages
    assert len(chat.turns) == 4


def test_a_conversation_is_saved_and_loaded(talk, tmp_path):
    path = tmp_path / "talk.json"
    talk("one", f"/save {path}", "/save", "/save /nowhere/at/all")
    assert json.loads(path.read_text())["messages"][1]["content"] == "one!"
    backend, chat, _, said = talk(f"/load {path}", "two")
    assert "the last says: one!" in said
    assert len(backend.asked[-1].messages) == 3
    path.write_text('{"messages": [{"role": "king"}]}')
    _, chat, _, said = talk(f"/load {path}", "/load", "/load /nowhere")
    assert "is no saved conversation" in said
    assert "name a file" in said
    assert chat.turns == []


def test_several_lines_are_one_text(talk):
    backend, *_ = talk("a\\", "b\\", "c", '"""one', "  two", 'three"""', '"""', "x", '"""')
    assert [request.messages[-1]["content"] for request in backend.asked] == [
        "a\nb\nc",
        "one\n  two\nthree",
        "x",
    ]


def test_an_answer_that_fails_is_told_and_the_talk_goes_on(talk):
    def script(request):
        return [Piece("", 0, "error", message="Bad luck.")] if len(request.messages) == 1 else "ok"

    _, _, shown, said = talk("one", "two", script=script)
    assert "Bad luck." in said
    assert shown.endswith("ok\n")


def test_a_prompt_that_fails_ends_in_words():
    backend = Scripted(lambda request: [Piece("", 0, "error", message="Bad luck.")])
    with serve_backend(backend) as url, pytest.raises(EngineError, match="Bad luck"):
        run_chat(ChatOptions("base", url=f"{url}/v1"), "Hi")


@pytest.mark.parametrize(
    ("model", "adapter", "prompt", "word"),
    [
        ("tiny", None, "x", "model: write namespace/name"),
        ("/nowhere", None, "x", "/nowhere does not exist"),
        ("base", "/nowhere", "x", "/nowhere does not exist"),
        ("base", None, "x" * 600, "shorten the messages"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(base, model, adapter, prompt, word):
    with pytest.raises(EngineError, match=word):
        run_chat(ChatOptions(str(base) if model == "base" else model, adapter), prompt)


def test_a_terminal_has_arrow_keys_and_a_history(tmp_path):
    """A real terminal: the line of the first talk comes back in the second by the up key."""
    backend = Scripted(echo)
    with serve_backend(backend) as url:
        command = [sys.executable, "-m", "engine", "chat", "base", "--url", f"{url}/v1"]
        for typed in (b"Hello\n/quit\n", b"\x1b[A\x1b[A\n/quit\n"):
            leader, follower = pty.openpty()
            process = subprocess.Popen(
                command,
                stdin=follower,
                stdout=follower,
                stderr=follower,
                env={**os.environ, "HOME": str(tmp_path), "TERM": "xterm"},
            )
            os.close(follower)
            shown = b""
            while b"you> " not in shown:
                shown += os.read(leader, 1000)
            os.write(leader, typed)
            while process.poll() is None:
                try:
                    shown += os.read(leader, 1000)
                except OSError:
                    break
            assert process.wait(30) == 0
            os.close(leader)
    assert [request.messages[-1]["content"] for request in backend.asked] == ["Hello", "Hello"]
    assert (tmp_path / ".athanor_chat_history").stat().st_mode & 0o777 == 0o600
