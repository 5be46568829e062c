"""The Gradio page, asked by Gradio's own client. Gradio is an extra, and this needs it."""

import pytest

from engine.serve.backend import Piece
from tests.engine.serve.scripted import Scripted

pytest.importorskip("gradio")
gradio_client = pytest.importorskip("gradio_client")

from engine import gradio_page  # noqa: E402

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


def test_both_languages_have_the_same_words():
    first, second = gradio_page._WORDS.values()
    assert first.keys() == second.keys()
