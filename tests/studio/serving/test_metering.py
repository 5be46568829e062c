"""What a request is charged: its share of the server's time, once, and never below zero."""

from dataclasses import replace
from datetime import UTC
from uuid import uuid4

import httpx
import pytest
from django.utils import timezone

from studio.points.models import Transfer
from studio.points.selectors import get_balance
from studio.points.services import grant_points
from studio.serving.keys import KeyWish, create_key
from studio.serving.metering import Asked, Measured, list_days, record_use, settle_uses
from studio.serving.models import ApiKey, Deployment, Use, UsePeriod, UseState
from tests.live import wait_for
from tests.studio.serving.deployed import priced

ASK = {"model": "athanor/tiny", "messages": [{"role": "user", "content": "hi"}]}
HOUR = 3_600_000  # milli-points an hour: one each millisecond


@pytest.fixture
def deployment(db):
    found = Deployment.objects.create(model="athanor/tiny", revision="0" * 40, status="ready")
    priced(found, HOUR)
    return found


def give(user, mpoints: int) -> None:
    grant_points(by=None, to=user, mpoints=mpoints, note="", key=f"{user.pk}-{mpoints}")


def record(*, asked: Asked, measured: Measured) -> Use:
    """Record a request of its own."""
    return record_use(asked=replace(asked, request_key=uuid4()), measured=measured)


def test_a_use_costs_its_share_of_time_and_is_charged_whole_points(alice, deployment):
    give(alice, 1000)
    asked = Asked(alice, "athanor/tiny", deployment.pk)
    record(asked=asked, measured=Measured(num_tokens=3, prefill_ms=4, decode_ms=6))
    assert Use.objects.get().cost_upoints == 10_000
    assert settle_uses() == 1
    assert get_balance(alice).available_mpoints == 990
    assert settle_uses() == 0
    record(asked=asked, measured=Measured(num_tokens=3, prefill_ms=1, decode_ms=0))
    settle_uses()
    assert get_balance(alice).available_mpoints == 989
    assert {move.run_id for move in Transfer.objects.exclude(reason="grant")} == {
        UsePeriod.objects.get().pk
    }


def test_less_than_a_milli_point_waits_for_its_rest(alice, deployment):
    give(alice, 10)
    priced(deployment, HOUR // 4)
    asked = Asked(alice, "athanor/tiny", deployment.pk)
    for paid in (0, 0, 0, 1):
        record(asked=asked, measured=Measured(prefill_ms=0, decode_ms=1))
        settle_uses()
        assert get_balance(alice).available_mpoints == 10 - paid


def test_a_balance_never_falls_below_zero(alice, deployment):
    give(alice, 5)
    asked = Asked(alice, "athanor/tiny", deployment.pk)
    record(asked=asked, measured=Measured(prefill_ms=0, decode_ms=50))
    settle_uses()
    assert get_balance(alice).available_mpoints == 0
    give(alice, 7)
    assert settle_uses() == 0
    assert get_balance(alice).available_mpoints == 7
    record(asked=asked, measured=Measured(prefill_ms=0, decode_ms=1))
    settle_uses()
    assert get_balance(alice).available_mpoints == 6  # and not what was owed before


def test_who_leaves_pays_for_the_tokens_that_came(alice, deployment):
    asked = Asked(alice, "athanor/tiny", deployment.pk)
    record(asked=asked, measured=Measured(num_tokens=10, prefill_ms=8, decode_ms=40))
    left = Measured(state=UseState.LEFT, num_tokens=5)
    assert record(asked=asked, measured=left).cost_upoints == (8 + 20) * 1000


def test_a_free_server_charges_nothing_and_asks_for_no_points(alice, deployment):
    priced(deployment, 0)
    asked = Asked(alice, "athanor/tiny", deployment.pk)
    assert record(asked=asked, measured=Measured(prefill_ms=9, decode_ms=9)).cost_upoints == 0
    assert settle_uses() == 0
    assert Use.objects.count() == 1


def test_a_key_counts_what_it_spent_and_leaves_the_record(alice, deployment):
    key, _ = create_key(user=alice, wish=KeyWish("app"))
    asked = Asked(alice, "athanor/tiny", deployment.pk, key)
    record(asked=asked, measured=Measured(prefill_ms=1, decode_ms=1))
    assert ApiKey.objects.get().spent_upoints == 2000
    key.delete()
    record(asked=asked, measured=Measured(prefill_ms=1, decode_ms=1))
    assert Use.objects.filter(api_key=None).count() == 2


def test_days_add_up_by_model(api, alice, bob, deployment):
    for user, model in ((alice, "a/a"), (alice, "a/a"), (alice, "b/b"), (bob, "a/a")):
        asked = Asked(user, model, deployment.pk)
        measured = Measured(num_prompt_tokens=5, num_tokens=2, prefill_ms=1, decode_ms=0)
        record(asked=asked, measured=measured)
    days = list_days(alice, since=timezone.now().replace(hour=0, minute=0, second=0))
    assert [(day.model, day.num_requests, day.num_tokens) for day in days] == [
        ("a/a", 2, 4),
        ("b/b", 1, 2),
    ]
    shown = api(alice).get("/api/model-uses/?days=1").json()
    assert [day["num_requests"] for day in shown] == [2, 1]
    assert shown[0]["day"] == timezone.now().astimezone(UTC).date().isoformat()
    for days in ("0", "x", "-1", "1e9"):
        assert api(alice).get(f"/api/model-uses/?days={days}").status_code == 400


@pytest.mark.parametrize("stream", [False, True])
def test_the_gateway_writes_each_answer_down(client_of, alice, server, stream):
    server.timing = {"queue_s": 0.5, "prefill_s": 0.01, "decode_s": 0.02}
    answer = client_of(alice).post("/v1/chat/completions", json=ASK | {"stream": stream})
    assert answer.status_code == 200
    wait_for("the use to be written", Use.objects.exists, timeout_s=10)
    use = Use.objects.get()
    assert (use.num_prompt_tokens, use.num_cached_tokens, use.num_tokens) == (7, 3, 3)
    assert (use.queue_ms, use.prefill_ms, use.decode_ms) == (500, 10, 20)
    assert (use.user, use.model, use.state) == (alice, "athanor/tiny", "complete")


def test_a_stream_tells_its_usage_only_to_who_asks(client_of, alice, server):
    answer = client_of(alice).post("/v1/chat/completions", json=ASK | {"stream": True})
    assert '"usage"' not in answer.text
    assert server.chats[0]["stream_options"] == {"include_usage": True}


def test_a_reader_who_leaves_is_written_down_with_what_came(client_of, alice, server):
    server.holds_after = 2
    with client_of(alice).stream("POST", "/v1/chat/completions", json=ASK | {"stream": True}) as r:
        lines = (line for line in r.iter_lines() if line)
        next(lines), next(lines)
    wait_for("the use to be written", Use.objects.exists, timeout_s=10)
    use = Use.objects.get()
    assert (use.state, use.num_tokens) == ("left", 2)


def test_a_reader_who_leaves_pays_for_the_prompt_that_was_read(client_of, alice, server):
    Use.objects.create(  # what the others' took is nothing to go by
        user=alice,
        deployment=Deployment.objects.get(),
        model="athanor/tiny",
        num_tokens=10,
        prefill_ms=9000,
        decode_ms=40,
    )
    server.holds_after = 2
    server.begun = {"prompt_tokens": 7, "cached_tokens": 3, "queue_s": 0.5, "prefill_s": 0.012}
    with client_of(alice).stream("POST", "/v1/chat/completions", json=ASK | {"stream": True}) as r:
        lines = (line for line in r.iter_lines() if line)
        assert "athanor_begun" not in next(lines) + next(lines)
    left = Use.objects.filter(state="left")
    wait_for("the use to be written", left.exists, timeout_s=10)
    use = left.get()
    assert (use.num_prompt_tokens, use.num_cached_tokens, use.num_tokens) == (7, 3, 2)
    assert (use.queue_ms, use.prefill_ms, use.decode_ms) == (500, 12, 8)


def test_who_has_no_points_is_told_before_the_server_is_asked(client_of, alice, server):
    priced(Deployment.objects.get(), HOUR)
    refused = client_of(alice).post("/v1/chat/completions", json=ASK)
    assert refused.status_code == 402
    assert refused.json()["error"]["code"] == "points_used_up"
    assert not server.chats
    give(alice, 5)
    assert client_of(alice).post("/v1/chat/completions", json=ASK).status_code == 200


def test_the_server_hears_whose_request_it_is_and_until_when(client_of, alice, server):
    headers = {"X-Athanor-Deadline": "2.5"}
    client_of(alice).post("/v1/chat/completions", json=ASK, headers=headers)
    assert server.headers[0]["x-athanor-tenant"] == f"user-{alice.pk}"
    assert 2 < float(server.headers[0]["x-athanor-deadline"]) <= 2.5
    for bad in ("soon", "0", "-1", "nan", "1e9"):
        refused = client_of(alice).post(
            "/v1/chat/completions", json=ASK, headers={"X-Athanor-Deadline": bad}
        )
        assert refused.status_code == 400, bad
        assert "X-Athanor-Deadline" in refused.json()["error"]["message"]


def test_who_leaves_before_a_whole_answer_is_written_down(client_of, alice, server):
    server.holds_after = 0
    with pytest.raises(httpx.ReadTimeout):
        client_of(alice).post("/v1/chat/completions", json=ASK, timeout=0.5)
    wait_for("the use to be written", Use.objects.exists, timeout_s=10)
    assert Use.objects.get().state == "left"


def test_a_deadline_ends_the_wait_for_a_server_too(client_of, alice, server):
    Deployment.objects.update(status="starting")
    headers = {"X-Athanor-Deadline": "0.3"}
    late = client_of(alice).post("/v1/chat/completions", json=ASK, headers=headers, timeout=10)
    assert late.status_code == 503
    assert late.json()["error"]["code"] == "model_starting"
    assert not server.chats


@pytest.mark.parametrize(
    ("odd", "status"),
    [({"stream": 1}, 400), ({"stream": "true"}, 400), ({"stream": True, "stream_options": 5}, 200)],
)
def test_an_odd_stream_is_no_way_round_the_meter(client_of, alice, server, odd, status):
    answer = client_of(alice).post("/v1/chat/completions", json=ASK | odd)
    assert answer.status_code == status
    # The fake server takes anything: the real one refuses what is no object.
    assert [chat.get("stream_options") for chat in server.chats] in ([], [5])


def test_texts_and_vectors_go_the_same_way(client_of, alice, server):
    client = client_of(alice)
    server.timing = {"queue_s": 0.0, "prefill_s": 0.03, "decode_s": 0.0}
    text = client.post("/v1/completions", json={"model": "athanor/tiny", "prompt": "Once"})
    assert text.status_code == 200
    vectors = client.post("/v1/embeddings", json={"model": "athanor/tiny", "input": "a"}).json()
    assert vectors["model"] == "athanor/tiny"
    assert vectors["data"][0]["embedding"] == [1.0, 0.0]
    assert [use.num_prompt_tokens for use in Use.objects.order_by("pk")] == [7, 4]
    assert [use.prefill_ms for use in Use.objects.all()] == [30, 30]
