"""Every refusal has one shape and one clear sentence."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.core.inputs import MOST_BODY_BYTES

pytestmark = pytest.mark.django_db
SHAPE = {"code", "message", "field", "params"}


def send(client, body: bytes, content_type: str = "application/json"):
    return client.patch("/api/me/", body, content_type=content_type)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"theme": ', "column 11"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"theme": NaN}', "NaN"),
        (b'{"theme": 1e999}', "1e999"),
        (b"[" * 100_000, "deep"),
        (b'{"theme": ' + b"9" * 5000 + b"}", "number"),
        (b'{"display_name": "a\\u0000b"}', "NUL"),
        (b'{"display_name": "\\ud800"}', "surrogate"),
        (b'{"a\\u0000b": 1}', "NUL"),
    ],
)
def test_a_body_that_cannot_be_kept_gets_one_sentence(api, alice, body, word):
    answer = send(api(alice), body)
    assert answer.status_code == 400
    assert answer.json()["code"] == "bad_json"
    assert word in answer.json()["message"]
    assert "Traceback" not in answer.json()["message"]


def test_a_body_is_not_read_beyond_the_most(api, alice):
    answer = send(api(alice), b'{"theme": "' + b"x" * MOST_BODY_BYTES + b'"}')
    assert (answer.status_code, answer.json()["code"]) == (413, "too_big")


@pytest.mark.parametrize("body", [b"[]", b"5", b"null", b'"x"'])
def test_a_body_of_the_wrong_kind_is_refused(api, alice, body):
    answer = send(api(alice), body)
    assert answer.status_code == 400
    assert set(answer.json()) >= SHAPE


def test_a_backslash_before_u0000_is_no_nul(api, alice):
    answer = send(api(alice), json.dumps({"display_name": "\\u0000"}).encode())
    assert answer.status_code == 200


def test_another_media_type_is_refused(api, alice):
    answer = send(api(alice), b"theme=dark", "application/x-www-form-urlencoded")
    assert (answer.status_code, answer.json()["code"]) == (415, "bad_media_type")


def test_a_method_that_is_not_there_is_refused(api, alice):
    answer = api(alice).put("/api/me/", {}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert set(answer.json()) == SHAPE


def test_an_address_that_leads_nowhere_says_so(api, alice):
    answer = api(alice).get("/api/nonsense/")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_page_that_is_not_there_is_not_found(api, olga):
    answer = api(olga).get("/api/users/?page=99999999999999999999999")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("path", ["/api/users/?search=a%00b", "/a%00b/"])
def test_a_nul_in_the_address_is_refused(api, olga, path):
    answer = api(olga).get(path)
    assert answer.status_code == 400
    assert "NUL" in answer.json()["message"]


def test_several_problems_are_all_named(api, alice):
    body = {"theme": "blue", "language": "fr"}
    answer = api(alice).patch("/api/me/", body, format="json").json()
    assert {problem["field"] for problem in answer["errors"]} == {"theme", "language"}
    assert answer["field"] in {"theme", "language"}


def test_no_bytes_break_a_door(api, alice):
    client = api(alice)

    @settings(max_examples=40, deadline=None)
    @given(body=st.binary(max_size=60))
    def try_bytes(body: bytes) -> None:
        assert send(client, body).status_code < 500

    try_bytes()
