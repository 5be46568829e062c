"""Chat in the terminal on the tiny model: once, in turns, and what it says of mistakes."""

import io

import pytest

from engine.chat import Chat, run_chat
from engine.errors import EngineError
from engine.serve.backend import Sampling
from tests.engine.serve.tiny_models import GREEDY, ask, open_backend


@pytest.fixture
def type_lines(monkeypatch):
    """Types lines at the prompt."""

    def type_them(*lines: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))

    return type_them


def test_a_prompt_is_answered_once_and_greedily(base, red, capsys):
    with open_backend(base, adapters=(str(red),), precision="bf16", max_context=64) as backend:
        wanted = [ask(backend, str(name), Sampling(temperature=0)) for name in (base, red)]
    for adapter, answer in zip((None, str(red)), wanted, strict=True):
        run_chat(str(base), adapter, "Hello")
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
    run_chat(str(base))
    said = capsys.readouterr()
    assert said.err.count("shorten the messages") == 1
    assert len(said.out) > 1


def test_a_word_after_a_slash_that_we_do_not_know_shows_the_help(base, capsys, type_lines):
    type_lines("/what", "")
    run_chat(str(base))
    assert capsys.readouterr().err.count("/quit leaves") == 2


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
        run_chat(str(base) if model == "base" else model, adapter, prompt)
