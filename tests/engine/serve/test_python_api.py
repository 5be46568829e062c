"""The engine in a Python program, and the example that the guide shows."""

import re
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.serve import Engine, RequestRefused
from engine.serve.backend import Piece, TextRequest
from engine.specs import ServeSpec
from tests.engine.serve.scripted import Scripted, embed_text
from tests.engine.serve.tiny_models import GREEDY, HELLO, ask, open_backend

ROOT = Path(__file__).resolve().parents[3]
NOW = {"type": "function", "function": {"name": "now"}}
CALL = '<tool_call>\n{"name": "now", "arguments": {"zone": 1}}\n</tool_call>'


def script(request):
    if isinstance(request, TextRequest):
        return f"{request.prompt} and on"
    text = request.messages[-1]["content"]
    if text == "broken":
        return [Piece("a", 1), Piece("", 1, "error", message="Bad luck.")]
    return [Piece("a", 1)] if text == "endless" else CALL if request.tools else f"{text}!"


@pytest.fixture
def backend():
    return Scripted(script, template="<tool_call>", adapters=["me/red"], base="me/base")


@pytest.fixture
def engine(backend):
    with Engine.around(backend, ServeSpec(model="me/base", max_waiting=3)) as engine:
        yield engine


def test_a_real_model_answers_as_the_server_does(base, red):
    greedy = {"max_tokens": 12, "temperature": 0}
    with open_backend(base, adapters=(str(red),)) as backend:
        wanted = [ask(backend, str(name), GREEDY) for name in (base, red)]
    with Engine(str(base), adapters=[str(red)], precision="fp32", num_threads=1) as engine:
        assert engine.list_models() == [str(base), str(red)]
        answer = engine.chat("Hello", **greedy)
        assert (answer.text, answer.num_tokens) == (wanted[0], 12)
        assert engine.chat(HELLO, model=str(red), **greedy).text == wanted[1]
        assert "".join(engine.stream("Hello", **greedy)) == wanted[0]
        assert [one.num_tokens for one in engine.generate(["One", "Two"], **greedy)] == [12, 12]


def test_a_chat_brings_calls_and_counts(engine):
    answer = engine.chat("Hi", tools=[NOW], logprobs=True)
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("now", '{"zone": 1}')]
    assert (answer.text, answer.finish) == ("", "tool_calls")
    assert (answer.num_prompt_tokens, answer.num_cached_tokens) == (2, 2)
    assert "".join(one.token for one in answer.logprobs) == CALL


def test_many_prompts_of_any_kind_come_back_in_order(engine, backend):
    prompts = ["Once", [79, 110], [{"role": "user", "content": "Hi"}], *map(str, range(20))]
    texts = [answer.text for answer in engine.generate(prompts, max_tokens=30)]
    assert texts[:3] == ["Once and on", "(79, 110) and on", "Hi!"]
    assert texts[3:] == [f"{number} and on" for number in range(20)]
    assert engine.generate("One")[0].text == "One and on"
    assert backend.asked[-1].sampling.max_tokens is None


def test_leaving_a_stream_ends_its_answer(engine, backend):
    for text in engine.stream("endless"):
        assert text == "a"
        break
    assert backend.aborted.wait(10)


def test_texts_become_vectors(engine):
    assert engine.embed(["a", "b"])[1] == pytest.approx(embed_text("b"))
    assert engine.embed("a") == [embed_text("a")]


def test_adapters_come_and_go(engine):
    engine.load_adapter("me/blue")
    assert engine.list_models() == ["me/base", "me/blue", "me/red"]
    engine.unload_adapter("me/blue")
    with pytest.raises(RequestRefused):
        engine.unload_adapter("me/blue")


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"temperature": 3}, "temperature"),
        ({"temprature": 1}, "temprature"),
        ({"n": 2}, "n"),
        ({"stream": True}, "stream"),
        ({"tools": [NOW, NOW]}, "tools[1].function.name"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(engine, parameters, field):
    with pytest.raises(RequestRefused) as refused:
        engine.chat("Hi", **parameters)
    assert refused.value.field == field
    assert field.split("[")[0] in refused.value.message


def test_an_answer_that_fails_ends_all(engine):
    with pytest.raises(RequestRefused, match="Bad luck"):
        engine.generate([[{"role": "user", "content": text}] for text in ("Hi", "broken")])


def test_a_wrong_option_is_told_before_anything_is_loaded():
    with pytest.raises(EngineError, match="max_context"):
        Engine("a/b", max_context=1)
    with pytest.raises(EngineError, match="colour"):
        Engine("a/b", colour="red")


def test_the_guides_example_runs(base, monkeypatch, tmp_path, capsys):
    """What the guide shows is run as it stands, with the tiny model in the model's place."""
    guide = (ROOT / "docs" / "engine.md").read_text(encoding="utf-8")
    example = re.search(r"### From Python\n.*?```python\n(.*?)```", guide, re.DOTALL)
    assert example
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "smollm2").symlink_to(base)
    exec(compile(example.group(1), "docs/engine.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) >= 2
