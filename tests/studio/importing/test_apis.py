"""Imports at the API: what is refused, and what strangers see."""

import pytest

from studio.importing.models import Import

URL = "/api/imports/"
pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "source",
    [
        "hf://a",
        "hf://a/b/c",
        "hf://../b",
        "hf://a/..",
        "hf://a b/c",
        "hf://a/b?x=1",
        "hf+https://host/a",
        "hf+https:///a/b",
        "hf+https://user:secret@host.example/a/b",
        "hf+https://host.example:99999/a/b",
        "hf+https://[::1/a/b",
        "hf+https://host.example?x/a/b",
        "hf+file:///etc/passwd/a/b",
        "ftp://host.example/m.gguf",
        "file:///etc/passwd",
        "https://host.example/m.bin",
        "https://user:secret@host.example/m.gguf",
        "https://host.example/m.gguf?X-Amz-Signature=abc",
        "https:///m.gguf",
        "https://host.example\\@evil.example/m.gguf",
        "drive://folder",
        "drive:///../x",
        "/etc/passwd",
        "://",
        "x" * 3000,
        "hf://a/\nb",
        "hf://a/b\x7fc",
        "",
        None,
        5,
    ],
)
def test_a_bad_source_names_its_field(ask, source):
    answer = ask(source, run=False)
    problems = answer.get("errors") or [answer]
    assert [problem["field"] for problem in problems] == ["source"], answer
    assert not Import.objects.exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "space"),
        ("name", "a/b"),
        ("name", ".."),
        ("namespace", "nobody"),
        ("namespace", ""),
        ("visibility", "secret"),
        ("token", "x" * 2000),
        ("wat", 1),
    ],
)
def test_a_bad_field_is_named(ask, field, value):
    assert ask("hf://a/b", run=False, **{field: value})["field"] == field


def test_a_drive_takes_no_token(ask, made):
    made("d/a.txt")
    assert ask("drive:///d", token="t")["field"] == "token"


def test_a_stranger_cannot_learn_that_an_import_exists(api, ask, carol, elsewhere):
    item = ask(elsewhere.source, run=False)
    url = f"{URL}{item['id']}/"
    assert api(carol).get(url).status_code == 404
    assert api(carol).post(f"{url}cancel/").status_code == 404
    assert api(carol).post(f"{url}retry/", {}, format="json").status_code == 404
    assert api(carol).get(URL).json()["count"] == 0
    for path in (URL, url):
        assert api().get(path).status_code == 401
    assert api().post(URL, {}, format="json").status_code == 401


def test_ones_own_imports_are_listed_latest_first_without_their_token(api, alice, ask, elsewhere):
    first = ask(elsewhere.source, run=False, name="a", token="hf_secret")
    second = ask(elsewhere.source, run=False, name="b")
    answer = api(alice).get(URL)
    assert [row["id"] for row in answer.json()["results"]] == [second["id"], first["id"]]
    assert "hf_secret" not in answer.content.decode() and "token" not in first


def test_what_runs_or_is_done_is_not_tried_again(api, alice, ask, elsewhere):
    item = ask(elsewhere.source)
    answer = api(alice).post(f"{URL}{item['id']}/retry/", {}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "import_not_ended")
    cancelled = api(alice).post(f"{URL}{item['id']}/cancel/").json()
    assert (cancelled["state"], cancelled["is_cancel_wished"]) == ("done", False)


def test_nobody_queues_without_end(ask, elsewhere):
    for n in range(20):
        assert ask(elsewhere.source, run=False, name=f"r{n}")["state"] == "waiting"
    assert "20 imports wait already" in ask(elsewhere.source, run=False)["message"]
