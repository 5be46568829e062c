"""Answers to one request stand on one adapter, whatever its name comes to mean meanwhile."""

import threading
from contextlib import contextmanager

import pytest

from engine.serve.asking import Answers, Gathering, ask_chat, ask_completion
from engine.serve.backend import ModelUnknown, RequestRefused
from engine.serve.callers import Caller
from engine.serve.chat_shapes import ChatBody
from engine.serve.completion_shapes import CompletionBody
from engine.serve.openai_shapes import validate
from tests.engine.serve.tiny_models import DEADLINE_S, HELLO, Reader, open_backend
from tests.live import wait_for

PARAMETERS = {"model": "mine", "max_tokens": 12, "temperature": 0}


@pytest.fixture
def backend(base, red):
    with open_backend(base) as backend:
        backend.load_adapter("mine", str(red))
        yield backend


def ask_four(backend):
    body = validate(ChatBody, {**PARAMETERS, "messages": list(HELLO), "n": 4})
    return ask_chat(body, backend, Caller())


def read(backend, asked) -> tuple[set[str], str]:
    """Return what the answers say, and under which fingerprint."""
    for index, piece in Answers(backend, asked):
        asked.shape.push(index, piece)
    whole = asked.shape.whole()
    texts = {choice["message"]["content"] for choice in whole["choices"]}
    return texts, whole["system_fingerprint"]


@contextmanager
def exchange(backend, other):
    """Give the name to other weights, which is done when nobody holds the first ones any more."""

    def give_away() -> None:
        backend.unload_adapter("mine")
        backend.load_adapter("mine", str(other))

    giving = threading.Thread(target=give_away)
    giving.start()
    wait_for("the name to be gone", lambda: "mine" not in list_names(backend))
    yield giving
    giving.join(DEADLINE_S)
    assert "mine" in list_names(backend)


def list_names(backend) -> list[str]:
    return [model.name for model in backend.list_models()]


def test_an_adapter_that_goes_after_the_first_piece_lets_all_answers_end(backend, blue):
    (alone,), sign = read(backend, ask_four(backend))
    asked, reader = ask_four(backend), Reader()
    gathering = Gathering(backend, asked, lambda index, piece: reader.pieces.put(piece))
    gathering.begin_first()
    first = reader.next()
    with exchange(backend, blue) as giving:
        assert giving.is_alive()
        gathering.begin_more()
        said = first.text
        lasts = []
        while len(lasts) < 4:
            piece = reader.next()
            said += piece.text
            lasts += [piece.finish] if piece.finish else []
    assert len(said) == 4 * len(alone)
    assert sorted(said) == sorted(alone * 4)
    assert set(lasts) <= {"stop", "length"}
    assert asked.shape.head()["system_fingerprint"] == sign
    assert read(backend, ask_four(backend))[0] != {alone}


def test_the_fingerprint_is_of_the_weights_that_answer(backend, blue):
    asked, before = ask_four(backend), read(backend, ask_four(backend))
    with exchange(backend, blue):
        pass
    texts, sign = read(backend, asked)
    assert sign == dict(backend.describe().fingerprints)["mine"] != before[1]
    assert texts != before[0]


def test_several_prompts_stand_on_one_adapter(backend, red, blue):
    backend.load_adapter("red", str(red))
    alone = [
        choice["text"]
        for choice in read_completion(backend, {**PARAMETERS, "model": "red"})["choices"]
    ]
    encode, giving = backend._encode, []

    def encode_slowly(text, field):
        """After the first prompt its adapter's name goes."""
        if text == "two" and not giving:
            giving.append(exchange(backend, blue))
            giving[0].__enter__()
        return encode(text, field)

    backend._encode = encode_slowly
    whole = read_completion(backend, PARAMETERS)
    giving[0].__exit__(None, None, None)
    assert [choice["text"] for choice in whole["choices"]] == alone


def read_completion(backend, parameters):
    body = validate(CompletionBody, {**parameters, "prompt": ["one", "two", "three"]})
    asked = ask_completion(body, backend, Caller())
    for index, piece in Answers(backend, asked):
        asked.shape.push(index, piece)
    return asked.shape.whole()


@pytest.mark.parametrize("how", ["ended", "aborted", "refused", "left"])
def test_nothing_is_held_when_it_is_over(backend, how):
    asked = ask_four(backend)
    gathering = Gathering(backend, asked, lambda index, piece: None)
    if how == "refused":
        backend._loop.enter = refuse
        with pytest.raises(RequestRefused):
            gathering.begin_first()
    elif how == "left":  # while its prompt was read
        gathering.abort()
        with pytest.raises(RequestRefused):
            gathering.begin_first()
    else:
        gathering.begin_first()
        (gathering.begin_more if how == "ended" else gathering.abort)()
    unloading = threading.Thread(target=backend.unload_adapter, args=("mine",))
    unloading.start()
    unloading.join(DEADLINE_S)
    assert not unloading.is_alive()
    with pytest.raises(ModelUnknown):
        Gathering(backend, asked, lambda index, piece: None).begin_first()


def refuse(ticket, deadline_s=None):
    raise RequestRefused("full", "As told.")


def test_the_base_is_signed_under_each_of_its_names(backend, base):
    signs = set()
    for name in (str(base), base.name):
        body = validate(ChatBody, {**PARAMETERS, "model": name, "messages": list(HELLO)})
        signs.add(read(backend, ask_chat(body, backend, Caller()))[1])
    assert signs == {dict(backend.describe().fingerprints)[str(base)]}
