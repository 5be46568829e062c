"""The Gradio page, asked by Gradio's own client: over a script, and over a server of its own."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import gradio_client
import pytest
import yaml

from engine import gradio_page
from engine.serve.backend import Piece
from engine.specs import Placement
from tests.engine.serve.scripted import Scripted

SETTINGS = ("me/red", "Be kind.", 0.5, 0.9, 7)


def script(request):
    text = request.messages[-1]["content"]
    return [Piece("a", 1)] if text == "endless" else f"{text}!"


@pytest.fixture(scope="module")
def backend():
    return Scripted(script, adapters=["me/red"])


@pytest.fixture(scope="module")
def client(backend):
    page, words = gradio_page.build_page(backend)
    page.launch(prevent_thread_lock=True, quiet=True, i18n=words)
    yield gradio_client.Client(page.local_url, verbose=False)
    page.close()


def test_a_question_is_answered_as_it_is_set(client, backend):
    question, turns = client.predict("Hi", [], *SETTINGS, api_name="/chat")
    assert question == ""
    assert [gradio_page._read_text(turn) for turn in turns] == ["Hi", "Hi!"]
    asked = backend.asked[-1]
    assert (asked.model, asked.messages[0]["content"]) == ("me/red", "Be kind.")
    assert (asked.sampling.temperature, asked.sampling.max_tokens) == (0.5, 7)
    client.predict("More", turns, *SETTINGS, api_name="/chat")
    assert [turn["content"] for turn in backend.asked[-1].messages][1:] == ["Hi", "Hi!", "More"]


def test_an_answer_comes_in_pieces(client):
    job = client.submit("Hello", [], *SETTINGS, api_name="/chat")
    texts = [gradio_page._read_text(turns[-1]) for _, turns in job]
    assert texts[0] == "H"
    assert texts[-1] == "Hello!"


def test_a_stopped_answer_frees_its_place(client, backend):
    backend.aborted.clear()
    job = client.submit("endless", [], *SETTINGS, api_name="/chat")
    next(iter(job))
    job.cancel()
    assert backend.aborted.wait(30)


def test_an_unknown_model_is_told(client):
    with pytest.raises(Exception, match="nobody"):
        client.predict("Hi", [], "nobody", *SETTINGS[1:], api_name="/chat")


def test_a_spec_s_model_is_opened_where_the_page_is_told(backend, tmp_path, monkeypatch):
    """The page itself is shut at once, as by Ctrl-C."""
    (tmp_path / "serve.yaml").write_text("model: alice/tiny\n")
    seen = {}

    def open_it(spec, placement, emitter):
        seen.update(model=spec.model, placement=placement)
        return Scripted(script)

    monkeypatch.setattr("engine.serve.backends.open_backend", open_it)
    monkeypatch.setattr(gradio_page.gr.Blocks, "launch", lambda page, **told: seen.update(told))
    place = Placement(
        run_dir=tmp_path, host="127.0.0.1", port=7861, devices=(1,), hub_url="http://h"
    )
    gradio_page.run_page(str(tmp_path / "serve.yaml"), place)
    assert (seen["model"], seen["server_name"], seen["server_port"]) == (
        "alice/tiny",
        "127.0.0.1",
        7861,
    )
    assert (seen["placement"].devices, seen["placement"].hub_url) == ((1,), "http://h")


@contextmanager
def run_verb(*arguments, says):
    """Run a verb until it says something; gives what matched first."""
    command = [sys.executable, "-m", "engine", *map(str, arguments)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if found := re.search(says, line):
                break
        else:
            raise AssertionError("".join(lines))
        yield found[1]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


@pytest.mark.slow
def test_the_page_asks_a_server_that_runs(base, tmp_path):
    spec = tmp_path / "serve.yaml"
    spec.write_text(yaml.safe_dump({"model": str(base), "precision": "fp32"}))
    serve = run_verb(
        "serve", spec, "--port", 0, "--run-dir", tmp_path / "run", says=r"at (http://\S+/v1)"
    )
    with serve as address, run_verb("gradio", address, "--port", 0, says=r"(http://\S+)") as page:
        client = gradio_client.Client(page, verbose=False)
        assert "/chat" in client.view_api(return_format="dict")["named_endpoints"]
        job = client.submit("Hello", [], str(base), "", 0.0, 1.0, 12, api_name="/chat")
        texts = [gradio_page._read_text(turns[-1]) for _, turns in job]
    assert len(texts) > 3
    assert all(after.startswith(before) for before, after in zip(texts, texts[1:], strict=False))


def test_both_languages_have_the_same_words():
    first, second = gradio_page._WORDS.values()
    assert first.keys() == second.keys()
