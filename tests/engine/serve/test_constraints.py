"""Answers that must match a schema, a pattern or a grammar do, whatever the model would say."""

import json
import random
import re

import pytest

from engine.models.tiny import make_tokenizer
from engine.serve.backend import ChatRequest, Constraint, RequestRefused, Sampling
from engine.serve.constraints import Grammars, make_masks
from engine.serve.tools import HERMES, constrain_tools
from tests.engine.serve.tiny_models import HELLO, Reader, ask, open_backend

TOKENIZER = make_tokenizer()
VOCAB_SIZE = len(TOKENIZER)
END_ID = TOKENIZER.eos_token_id
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
AS_SCHEMA = Constraint("json_schema", json.dumps(SCHEMA))


@pytest.fixture(scope="module")
def grammars():
    return Grammars(TOKENIZER, VOCAB_SIZE, [END_ID])


def say(grammars, constraint: Constraint, seed: int) -> str:
    """Say anything that is allowed, by chance, until nothing can follow or the end is drawn."""
    rng, matcher, ids = random.Random(seed), grammars.open(constraint), []
    while not matcher.is_complete:
        allowed = make_masks([matcher], VOCAB_SIZE)[0].nonzero()[:, 0].tolist()
        token_id = rng.choice(allowed)
        if token_id == END_ID:
            break
        matcher.take(token_id)
        ids.append(token_id)
    return TOKENIZER.decode(ids)


def check_person(text: str) -> None:
    person = json.loads(text)
    assert set(person) == {"name", "age", "tags"}
    assert len(person["name"]) <= 5
    assert 0 <= person["age"] <= 99
    assert set(person["tags"]) <= {"a", "b"} and len(person["tags"]) <= 2


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_drawn_matches(grammars, seed):
    check_person(say(grammars, AS_SCHEMA, seed))
    assert re.fullmatch(
        r"[0-9]{2,4}-(x|yz)", say(grammars, Constraint("regex", "[0-9]{2,4}-(x|yz)"), seed)
    )
    for grammar in (
        'start: "a" rest\nrest: "b" | "c" rest',
        'root ::= "a" rest\nrest ::= "b" | "c" rest',
    ):
        assert re.fullmatch("ac*b", say(grammars, Constraint("grammar", grammar), seed))


def test_a_grammar_may_hold_a_schema_and_special_tokens(grammars):
    call = 'start: <[1]> "call " body <[2]>\nbody: %json {"enum": [[1], {"a": 2}]}'
    matcher, ids = grammars.open(Constraint("grammar", call)), []
    while not matcher.is_complete:
        allowed = make_masks([matcher], VOCAB_SIZE)[0].nonzero()[:, 0].tolist()
        matcher.take(allowed[0])
        ids.append(allowed[0])
    assert (ids[0], ids[-1]) == (1, 2)
    said = TOKENIZER.decode(ids, skip_special_tokens=True)
    assert said.startswith("call ") and json.loads(said[5:]) in ([1], {"a": 2})


def test_rows_without_a_constraint_may_say_anything(grammars):
    masks = make_masks([None, grammars.open(Constraint("regex", "7")), None], VOCAB_SIZE)
    assert masks[0].all() and masks[2].all()
    assert TOKENIZER.decode(masks[1].nonzero()[:, 0]) == "7"


def test_a_token_that_is_not_allowed_is_refused(grammars):
    matcher = grammars.open(Constraint("regex", "7"))
    with pytest.raises(ValueError, match="token"):
        matcher.take(TOKENIZER.encode("8")[0])
    assert not grammars.open(Constraint("regex", "7")).is_complete


@pytest.mark.parametrize(
    ("constraint", "word"),
    [
        (Constraint("json_schema", '{"$ref": "#"}'), "NoExtension"),
        (Constraint("regex", "a" * 2**20), "letters"),
        (Constraint("json_schema", "{"), "JSON schema"),
        (Constraint("json_schema", "3"), "a schema is a JSON object"),
        (Constraint("json_schema", '{"type": "objec"}'), "objec"),
        (Constraint("json_schema", '{"$ref": "http://example.org/x"}'), "not present"),
        (Constraint("regex", "[0-9"), "regular expression"),
        (Constraint("grammar", "root ::= missing"), "missing"),
    ],
)
def test_what_cannot_be_compiled_is_refused_by_field(grammars, constraint, word):
    with pytest.raises(RequestRefused, match=word) as refusal:
        grammars.open(constraint)
    kind = constraint.kind
    field = kind if kind in ("regex", "grammar") else "response_format"
    assert refusal.value.field == field
    assert refusal.value.message.startswith(f"{field}: the ")
    assert refusal.value.message.endswith(".") and "\n" not in refusal.value.message


def test_a_functions_schema_that_cannot_be_followed_is_refused_as_a_tools(grammars):
    tool = {"type": "function", "function": {"name": "now", "parameters": {"type": "objec"}}}
    constraint = constrain_tools(
        HERMES, [tool], "required", is_parallel=True, find_token=lambda text: None
    )
    with pytest.raises(RequestRefused, match="^tools: the schema of a function cannot") as refusal:
        grammars.open(constraint)
    assert refusal.value.field == "tools"


def test_a_schema_is_compiled_once_for_each_tenant(monkeypatch):
    """One that is ready at once would tell that another tenant has sent it."""
    grammars, compiled = Grammars(TOKENIZER, VOCAB_SIZE, [END_ID]), []
    compile_one = grammars._compile
    monkeypatch.setattr(grammars, "_compile", lambda c: compiled.append(c) or compile_one(c))
    for tenant in ("a", "a", "b", "", "b"):
        grammars.open(AS_SCHEMA, tenant)
    assert len(compiled) == 3


def test_the_backend_compiles_for_the_tenant_who_asks(base):
    with open_backend(base) as backend:
        for tenant in ("a", "b"):
            reader = Reader()
            sampling = Sampling(max_tokens=2, constraint=AS_SCHEMA)
            request = ChatRequest(model=str(base), messages=HELLO, sampling=sampling, tenant=tenant)
            backend.submit(request, reader.pieces.put)
            reader.read_all()
        assert [tenant for tenant, _ in backend._grammars._kept] == ["a", "b"]


def test_the_server_answers_by_schema_beside_free_answers(base):
    with open_backend(base) as backend:
        free = ask(backend, str(base))
        readers = [Reader() for _ in range(4)]
        for index, reader in enumerate(readers):
            if index % 2:
                sampling = Sampling(max_tokens=12, temperature=0)
            else:
                sampling = Sampling(max_tokens=300, seed=index, constraint=AS_SCHEMA)
            request = ChatRequest(model=str(base), messages=HELLO, sampling=sampling)
            backend.submit(request, reader.pieces.put)
        answers = [reader.read_all() for reader in readers]
        for text, last in answers[::2]:
            assert last.finish == "stop"
            check_person(text)
        assert [text for text, _ in answers[1::2]] == [free, free]
        bad = Sampling(constraint=Constraint("regex", "("))
        with pytest.raises(RequestRefused, match="regex"):
            ask(backend, str(base), bad)
