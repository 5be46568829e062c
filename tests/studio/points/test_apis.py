"""Balance, statement and grants over HTTP, and who may see them."""

import json
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from studio.points.services import charge_run, grant_points, hold_points, release_run
from tests.factories import make_job

pytestmark = pytest.mark.django_db


def grant(client, username: str, *, key: str | None = None, **fields):
    body = {"username": username, "mpoints": 5000, "note": "for the course", **fields}
    headers = {"Idempotency-Key": key or uuid4().hex}
    return client.post("/api/points/grants/", body, format="json", headers=headers)


@pytest.fixture
def spent(alice, olga):
    """Alice was granted 5000, and a run has cost her 700 of the 2000 it held."""
    grant_points(by=olga, to=alice, mpoints=5000, note="for the course", key="k")
    run = make_job(owner=alice, name="my tune", status="running").current_run
    hold_points(user=alice, mpoints=2000, run_id=run.pk, note="")
    charge_run(user=alice, run_id=run.pk, total_mpoints=700)
    return run


def test_the_balance_says_when_it_runs_out(api, alice, spent):
    answer = api(alice).get("/api/points/").json()
    assert (answer["available_mpoints"], answer["held_mpoints"]) == (3000, 1300)
    assert answer["total_mpoints"] == 4300
    burn = spent.rate_mpoints_per_hour
    assert answer["burn_mpoints_per_hour"] == burn
    left = datetime.fromisoformat(answer["runs_out_at"]) - timezone.now()
    assert abs(left - timedelta(hours=4300 / burn)) < timedelta(minutes=1)


def test_a_balance_that_nothing_burns_does_not_run_out(api, carol):
    answer = api(carol).get("/api/points/").json()
    assert answer["total_mpoints"] == 0
    assert answer["runs_out_at"] is None


def test_the_statement_adds_up(api, alice, olga, spent):
    release_run(user=alice, run_id=spent.pk)
    answer = api(alice).get("/api/points/statement/").json()
    assert [line["reason"] for line in answer["results"]] == ["release", "charge", "hold", "grant"]
    assert answer["totals"] == {
        "available_mpoints": 4300,
        "held_mpoints": 0,
        "total_mpoints": 4300,
        "sum_available_mpoints": 4300,
        "sum_held_mpoints": 0,
    }
    lines = answer["results"]
    assert sum(line["available_change_mpoints"] for line in lines) == 4300
    assert [line["available_after_mpoints"] for line in lines] == [4300, 3000, 3000, 5000]
    assert [line["held_after_mpoints"] for line in lines] == [0, 1300, 2000, 0]


def test_a_line_names_its_job_or_its_giver(api, alice, spent):
    *_, hold, granted = api(alice).get("/api/points/statement/").json()["results"]
    assert (hold["job_id"], hold["job_name"]) == (str(spent.job_id), "my tune")
    assert (hold["run_index"], hold["by"]) == (1, None)
    assert (granted["by"], granted["note"], granted["job_id"]) == ("olga", "for the course", None)


def test_the_statement_comes_in_pages(api, alice, spent):
    answer = api(alice).get("/api/points/statement/?page=2&page_size=2").json()
    assert (answer["count"], answer["page"], answer["page_size"]) == (3, 2, 2)
    assert [line["reason"] for line in answer["results"]] == ["grant"]


def test_a_statement_by_run_has_one_line_for_each_and_adds_up_too(api, alice, spent):
    charge_run(user=alice, run_id=spent.pk, total_mpoints=900)
    grant_points(by=None, to=alice, mpoints=10, note="", key="more")
    release_run(user=alice, run_id=spent.pk)
    answer = api(alice).get("/api/points/statement/?by_run=true").json()
    run, more, begun = answer["results"]
    assert answer["count"] == 3
    assert [line["reason"] for line in (run, more, begun)] == ["release", "grant", "grant"]
    assert (run["num_moves"], more["num_moves"]) == (4, 1)
    assert run["begun_at"] < more["time"] < run["time"]
    assert (run["available_change_mpoints"], run["held_change_mpoints"]) == (-900, 0)
    assert run["available_after_mpoints"] == answer["totals"]["available_mpoints"]
    changes = sum(line["available_change_mpoints"] for line in answer["results"])
    assert changes == answer["totals"]["sum_available_mpoints"] == 4110


def test_a_statement_by_run_keeps_peoples_runs_apart(api, alice, bob, spent):
    grant_points(by=None, to=bob, mpoints=50, note="", key="bob")
    other = make_job(owner=bob).current_run
    hold_points(user=bob, mpoints=40, run_id=other.pk, note="")
    lines = api(bob).get("/api/points/statement/?by_run=true").json()["results"]
    assert [(line["reason"], line["held_change_mpoints"]) for line in lines] == [
        ("hold", 40),
        ("grant", 0),
    ]


def test_an_operator_grants(api, alice, olga):
    answer = grant(api(olga), "alice")
    assert answer.status_code == 201
    line = answer.json()
    assert (line["reason"], line["available_change_mpoints"], line["by"]) == ("grant", 5000, "olga")
    assert api(alice).get("/api/points/").json()["available_mpoints"] == 5000


def test_a_grant_sent_twice_is_one_line(api, alice, olga):
    lines = [grant(api(olga), "alice", key="again").json() for _ in range(2)]
    assert lines[0] == lines[1]
    assert grant(api(olga), "alice", key="again", mpoints=1).status_code == 409


def test_a_grant_needs_a_key(api, alice, olga):
    body = {"username": "alice", "mpoints": 5}
    answer = api(olga).post("/api/points/grants/", body, format="json")
    assert answer.status_code == 400
    assert answer.json()["field"] == "Idempotency-Key"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"mpoints": 0}, "mpoints"),
        ({"mpoints": 1.5}, "mpoints"),
        ({"mpoints": 10**30}, "mpoints"),
        ({"username": "nobody"}, "username"),
        ({"note": "x" * 201}, "note"),
        ({"amount": 5}, "amount"),
    ],
)
def test_a_bad_grant_is_refused_by_its_field(api, alice, olga, fields, field):
    answer = grant(api(olga), **({"username": "alice"} | fields))
    assert answer.status_code == 400
    assert answer.json()["field"] == field
    assert field in answer.json()["message"]


def test_the_disabled_get_nothing(api, alice, olga):
    alice.is_active = False
    alice.save()
    assert grant(api(olga), "alice").json()["code"] == "disabled"


def test_operators_read_the_statement_of_others(api, alice, olga, spent):
    answer = api(olga).get("/api/points/statement/?user=alice").json()
    assert answer["count"] == 3
    assert api(olga).get("/api/points/statement/?user=nobody").status_code == 404


def test_a_stranger_learns_nothing_of_anothers_points(api, alice, carol, spent):
    assert api(carol).get("/api/points/statement/?user=alice").status_code == 404
    assert grant(api(carol), "carol").status_code == 404
    assert api(carol).get("/api/points/statement/").json()["count"] == 0


@pytest.mark.parametrize("path", ["", "statement/"])
def test_nobody_gets_nothing(api, db, path):
    answer = api().get(f"/api/points/{path}")
    assert answer.status_code == 401
    assert answer.json()["code"] == "not_signed_in"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_no_body_breaks_the_grant_door(api, olga):
    client = api(olga)
    shaped = {"username": st.just("olga") | JSON, "mpoints": JSON}
    printable = st.characters(min_codepoint=32, max_codepoint=126)

    @settings(max_examples=60, deadline=None)
    @given(
        body=JSON | st.fixed_dictionaries(shaped, optional={"note": JSON}),
        key=st.text(printable, max_size=250),
    )
    def try_body(body: object, key: str) -> None:
        headers = {"Idempotency-Key": key}
        answer = client.generic(
            "POST", "/api/points/grants/", json.dumps(body), "application/json", headers=headers
        )
        assert answer.status_code in {201, 400, 409}
        if answer.status_code != 201:
            assert answer.json()["message"]

    try_body()
