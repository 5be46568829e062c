"""Jobs and runs over HTTP: the launch page, the job page, and who may see them."""

import json
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.jobs.models import Job, Run
from studio.jobs.run_tokens import make_run_token
from tests.factories import make_claimed_run, make_job, make_node, make_run
from tests.studio.jobs.repos import make_dataset, make_unclear_dataset
from tests.studio.jobs.test_ingest import end, post, say, start

pytestmark = pytest.mark.django_db


def send(client, path: str, body: dict | None = None, **headers):
    return client.post(path, body or {}, format="json", headers=headers)


def test_the_launch_form_is_drawn_from_the_schema(api, alice):
    answer = api(alice).get("/api/specs/train/").json()
    assert answer["schema"]["properties"]["lora"]
    assert set(answer["usual"]) == {"sft", "pretrain", "dpo", "reward"}
    full = answer["usual"]["pretrain"]["full"]
    assert set(full["presets"]) == {"quick", "balanced", "thorough"}
    assert full["defaults"]["learning_rate"] < 2e-3
    assert api(alice).get("/api/specs/nonsense/").status_code == 404


def test_an_estimate_says_what_a_launch_needs(api, rich_alice, spec):
    wish = {"spec": spec, "flavor": "cpu-1"}
    answer = send(api(rich_alice), "/api/jobs/estimate/", wish).json()
    assert answer["ok"] is True
    assert answer["peak_memory_bytes"] == sum(answer["memory_parts"].values())
    assert answer["hold_mpoints"] > answer["cost_mpoints"] > 0
    assert answer["smallest_flavor"] == "cpu-1"
    assert answer["refusals"] == []


def test_an_estimate_of_a_bad_spec_names_the_fields(api, alice, spec):
    wish = {"spec": {**spec, "lora": {"rank": 0}, "typo": 1}, "flavor": "cpu-1"}
    answer = send(api(alice), "/api/jobs/estimate/", wish)
    assert answer.status_code == 200
    fields = {refusal["field"] for refusal in answer.json()["refusals"]}
    assert {"spec.lora.rank", "spec.typo"} <= fields


def test_an_estimate_without_points_says_how_many_are_missing(api, alice, spec):
    wish = {"spec": spec, "flavor": "cpu-1"}
    (refusal,) = send(api(alice), "/api/jobs/estimate/", wish).json()["refusals"]
    assert refusal["code"] == "points_exhausted"
    assert refusal["params"]["missing_mpoints"] > 0


def test_bad_rows_are_refused_with_the_mend(api, rich_alice, spec):
    make_dataset("alice/torn", owner=rich_alice, num_bad=2)
    wish = {"spec": {**spec, "dataset": "alice/torn"}, "flavor": "cpu-1"}
    (refusal,) = send(api(rich_alice), "/api/jobs/estimate/", wish).json()["refusals"]
    assert (refusal["code"], refusal["field"]) == ("dataset_bad_rows", "spec.dataset")
    assert refusal["mend"]["code"] == "keep_good_rows"


def test_a_mend_of_too_little_memory_fits_when_it_is_made(api, rich_alice, spec):
    large = {"tokens_per_step": 65_536, "micro_batch_tokens": 65_536}
    wish = {"spec": {**spec, **large}, "flavor": "cpu-1"}
    (refusal, *_) = send(api(rich_alice), "/api/jobs/estimate/", wish).json()["refusals"]
    assert refusal["code"] == "not_enough_memory"
    wish["spec"] |= refusal["mend"]["set"]["spec"]
    codes = [
        refusal["code"]
        for refusal in send(api(rich_alice), "/api/jobs/estimate/", wish).json()["refusals"]
    ]
    assert "not_enough_memory" not in codes


def test_a_flavor_that_no_node_holds_is_refused(api, rich_alice, spec):
    wish = {"spec": spec, "flavor": "gpu-1"}
    codes = [
        r["code"] for r in send(api(rich_alice), "/api/jobs/estimate/", wish).json()["refusals"]
    ]
    assert "flavor_unavailable" in codes


def test_a_launch_is_201_and_the_same_key_200(api, rich_alice, spec):
    client, wish = api(rich_alice), {"spec": spec, "flavor": "cpu-1", "name": "first light"}
    first = send(client, "/api/jobs/", wish, **{"Idempotency-Key": "k"})
    again = send(client, "/api/jobs/", wish, **{"Idempotency-Key": "k"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["id"] == again.json()["id"]
    assert first.json()["name"] == "first light"
    assert first.json()["queue_position"] == 1
    other = send(client, "/api/jobs/", {**wish, "name": "x"}, **{"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


def test_a_launch_without_points_is_409_in_the_estimates_words(api, alice, spec):
    wish = {"spec": spec, "flavor": "cpu-1"}
    (refusal,) = send(api(alice), "/api/jobs/estimate/", wish).json()["refusals"]
    answer = send(api(alice), "/api/jobs/", wish)
    assert answer.status_code == 409
    assert answer.json()["message"] == refusal["message"]


def test_a_bad_spec_is_400_with_every_field(api, rich_alice, spec):
    wish = {"spec": {**spec, "seed": -1, "learning_rate": "fast"}, "flavor": "cpu-1"}
    answer = send(api(rich_alice), "/api/jobs/", wish)
    assert answer.status_code == 400
    fields = {error["field"] for error in answer.json()["errors"]}
    assert fields == {"spec.seed", "spec.learning_rate"}


def test_a_job_is_stopped_renamed_and_retried(api, rich_alice, spec):
    client = api(rich_alice)
    job = send(client, "/api/jobs/", {"spec": spec, "flavor": "cpu-1"}).json()
    path = f"/api/jobs/{job['id']}/"
    stopped = send(client, f"{path}stop/").json()
    assert (stopped["status"], stopped["reason"]) == ("stopped", "stopped_by_owner")
    assert stopped["can_retry"] and not stopped["can_stop"] and not stopped["can_resume"]
    assert client.patch(path, {"name": "mine"}, format="json").json()["name"] == "mine"
    retried = send(client, f"{path}retry/", {"resume": False}).json()
    assert (retried["status"], retried["run"]["index"]) == ("queued", 2)
    assert [run["index"] for run in retried["runs"]] == [1, 2]


def test_a_list_is_narrowed_by_status_search_and_kind(api, alice):
    ended = {"status": "failed", "reason": "crashed", "ended_at": timezone.now()}
    make_job(owner=alice, name="old one", **ended)
    make_job(owner=alice, name="new one")
    client = api(alice)
    assert client.get("/api/jobs/").json()["count"] == 2
    assert [j["name"] for j in client.get("/api/jobs/?status=live").json()["results"]] == [
        "new one"
    ]
    assert client.get("/api/jobs/?status=failed,stopped").json()["count"] == 1
    assert client.get("/api/jobs/?search=OLD").json()["count"] == 1
    assert client.get("/api/jobs/?kind=serve").json()["count"] == 0
    assert client.get("/api/jobs/?status=paused").json()["field"] == "status"


def test_operators_see_all_jobs_and_mine_narrows(api, alice, olga, adam):
    make_job(owner=alice)
    make_job(owner=olga)
    make_job(owner=adam, kind="serve", flavor="serve")
    client = api(olga)
    assert client.get("/api/jobs/").json()["count"] == 2
    assert client.get("/api/jobs/?mine=true").json()["count"] == 1
    assert client.get("/api/jobs/?kind=serve").json()["count"] == 1


def test_an_estimate_for_a_dataset_without_one_clear_file_refuses_that_alone(api, alice, spec):
    make_unclear_dataset("alice/unclear", owner=alice)
    wish = {"spec": spec | {"dataset": "alice/unclear"}, "flavor": "cpu-1"}
    answer = send(api(alice), "/api/jobs/estimate/", wish)
    codes = [refusal["code"] for refusal in answer.json()["refusals"]]
    assert (answer.status_code, codes) == (200, ["dataset_file_unclear"])


def make_jobs(owner, node, count: int) -> None:
    for _ in range(count):
        job = make_job(
            owner=owner, status="failed", reason="crashed", ended_at=timezone.now(), node=node
        )
        job.current_run = make_run(job, status="queued")
        job.save()


def test_a_list_of_many_takes_as_many_queries_as_of_one(
    api, alice, bob, django_assert_max_num_queries, django_assert_num_queries
):
    node = make_node()
    make_jobs(alice, node, 1)
    make_jobs(bob, node, 12)
    hers, his = api(alice), api(bob)
    with django_assert_max_num_queries(16) as one:
        hers.get("/api/jobs/")
    with django_assert_num_queries(len(one)):
        his.get("/api/jobs/")


def make_told_run(owner) -> Run:
    run = make_claimed_run(owner)
    log = b"epoch 1\nloss 2.5\n\xff\n"
    events = [
        start(),
        say(1, log[:12]),
        say(2, log[12:]),
        {"seq": 3, "type": "metric", "step": 1, "values": {"loss": 2.5}},
        {"seq": 4, "type": "sample", "step": 1, "prompt": "Who?", "completion": "Me."},
        end(5, log),
    ]
    post(run, *events)
    run.refresh_from_db()
    return run


def test_the_run_is_told_event_by_event(api, alice):
    run, client = make_told_run(alice), api(alice)
    answer = client.get(f"/api/runs/{run.pk}/events/").json()
    assert [event["seq"] for event in answer["events"]] == [0, 1, 2, 3, 4, 5]
    assert answer["next_seq"] == 6
    assert answer["events"][2]["first_line"] == 1
    assert answer["events"][2]["text"].endswith("\ufffd\n")
    metrics = client.get(f"/api/runs/{run.pk}/events/?type=metric&after=1").json()
    assert [event["values"] for event in metrics["events"]] == [{"loss": 2.5}]
    page = client.get(f"/api/runs/{run.pk}/events/?after=2&limit=2").json()
    assert page["next_seq"] == 4


def test_metrics_samples_and_log_are_read(api, alice):
    run, client = make_told_run(alice), api(alice)
    series = client.get(f"/api/runs/{run.pk}/metrics/").json()["series"]
    assert [point[:2] for point in series["loss"]] == [[1, 2.5]]
    assert client.get(f"/api/runs/{run.pk}/samples/").json()[0]["completion"] == "Me."
    log = client.get(f"/api/runs/{run.pk}/log/?from_line=1&limit=1").json()
    assert (log["lines"], log["total_lines"], log["complete"]) == (["loss 2.5"], 3, True)
    found = client.get(f"/api/runs/{run.pk}/log/search/?q=LOSS").json()
    assert found == {"count": 1, "matches": [{"line": 1, "text": "loss 2.5"}]}
    assert client.get(f"/api/runs/{run.pk}/log/search/").json()["field"] == "q"


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
async def test_the_download_is_every_byte(alice):
    run = await sync_to_async(make_told_run)(alice)
    client = AsyncClient()
    await client.aforce_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    answer = await client.get(f"/api/runs/{run.pk}/log/download/")
    received = b"".join([piece async for piece in answer.streaming_content])
    assert received == b"epoch 1\nloss 2.5\n\xff\n"
    assert answer.headers["Content-Length"] == str(len(received))


PATHS = [
    "/api/jobs/{job}/",
    "/api/runs/{run}/events/",
    "/api/runs/{run}/metrics/",
    "/api/runs/{run}/samples/",
    "/api/runs/{run}/log/",
    "/api/runs/{run}/log/search/?q=x",
    "/api/runs/{run}/log/download/",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_strangers_job_is_not_there(api, alice, carol, path):
    run = make_job(owner=alice).current_run
    here = path.format(job=run.job_id, run=run.pk)
    nowhere = path.format(job=uuid4(), run=uuid4())
    assert api(carol).get(here).status_code == 404
    assert api(carol).get(here).json() == api(carol).get(nowhere).json()
    assert api().get(here).status_code in {401, 403}


@pytest.mark.parametrize("door", ["stop", "retry"])
def test_a_stranger_stops_and_retries_nothing(api, alice, carol, door):
    job = make_job(owner=alice)
    assert send(api(carol), f"/api/jobs/{job.pk}/{door}/").status_code == 404
    assert api(carol).patch(f"/api/jobs/{job.pk}/", {"name": "x"}, format="json").status_code == 404
    assert Job.objects.get().name == "a finetune"


def test_a_strangers_list_is_empty(api, alice, carol):
    make_job(owner=alice)
    assert api(carol).get("/api/jobs/").json()["count"] == 0


def test_the_platforms_jobs_are_not_there_for_members(api, adam, alice):
    job = make_job(owner=adam, kind="serve", flavor="serve")
    assert api(alice).get(f"/api/jobs/{job.pk}/").status_code == 404


def call(client, run: Run, door: str, body, token: str | None = None):
    bearer = make_run_token(run) if token is None else token
    return client.post(
        f"/api/internal/runs/{run.pk}/{door}/",
        body,
        format="json",
        headers={"Authorization": f"Bearer {bearer}"},
    )


def test_a_node_claims_and_reports_a_run(api, alice):
    run = make_job(owner=alice, node=make_node(), placement_number=1).current_run
    assert call(api(), run, "claim", {}).json() == {"start": True, "reason": ""}
    batch = {"now": 5.0, "alive": True, "events": [{"time": 5.0, **start()}]}
    assert call(api(), run, "events", batch).json() == {"next_seq": 1, "stop": None}


def test_a_node_refuses_a_run_that_it_cannot_read(api, alice):
    run = make_job(owner=alice, node=make_node(), placement_number=1).current_run
    for bad in ({"fields": ["a\nb"]}, {"fields": "spec"}, {"fields": ["x"] * 21}):
        assert call(api(), run, "refuse", bad).status_code == 400
    answers = [call(api(), run, "refuse", {"fields": ["spec.new"]}).json() for _ in range(2)]
    assert answers == [{"is_taken": True}, {"is_taken": False}]
    shown = api(alice).get(f"/api/jobs/{run.job_id}/").json()["run"]
    assert (shown["status"], shown["told"]["code"]) == ("failed", "run_refused")


def test_the_doors_of_a_run_open_to_its_own_token_only(api, alice, bob):
    mine, other = make_claimed_run(alice), make_job(owner=bob).current_run
    post = {"now": 1.0, "alive": True, "events": []}
    for door, body in [("claim", {}), ("events", post), ("refuse", {"fields": ["spec"]})]:
        assert call(api(), mine, door, body, make_run_token(other)).status_code == 404
        assert call(api(), mine, door, body, "").status_code == 401
        assert call(api(), mine, door, body, "run_forged").status_code == 401
        assert api(alice).post(f"/api/internal/runs/{mine.pk}/{door}/", body).status_code == 401


def test_a_run_token_opens_nothing_else(api, alice):
    run = make_claimed_run(alice)
    headers = {"Authorization": f"Bearer {make_run_token(run)}"}
    for path in ("/api/jobs/", f"/api/jobs/{run.job_id}/", f"/api/runs/{run.pk}/log/"):
        assert api().get(path, headers=headers).status_code in {401, 403}


def test_a_malformed_event_is_named_by_its_seq(api, alice):
    run = make_claimed_run(alice)
    events = [{"time": 1.0, **start()}, {"time": 1.0, "seq": 1, "type": "metric", "step": -1}]
    answer = call(api(), run, "events", {"now": 1.0, "alive": True, "events": events})
    assert answer.status_code == 400
    assert "event 1" in answer.json()["message"]
    assert answer.json()["params"]["seq"] == 1


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
_FUZZ = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_FUZZ
@given(events=_JSON, now=_JSON, alive=_JSON)
def test_no_post_of_a_node_breaks_the_door(api, alice, events, now, alive):
    run = Run.objects.first() or make_claimed_run(alice)
    body = json.dumps({"now": now, "alive": alive, "events": events})
    answer = api().post(
        f"/api/internal/runs/{run.pk}/events/",
        body,
        content_type="application/json",
        headers={"Authorization": f"Bearer {make_run_token(run)}"},
    )
    assert answer.status_code in {200, 400}


@_FUZZ
@given(
    change=st.dictionaries(st.sampled_from(["lora", "seed", "output", "x"]), _JSON), flavor=_JSON
)
def test_no_estimate_breaks_the_door(api, rich_alice, change, flavor):
    body = {"spec": {"kind": "train", "model": "a/b", "dataset": "a/c", **change}}
    text = json.dumps({**body, "flavor": flavor})
    answer = api(rich_alice).post("/api/jobs/estimate/", text, content_type="application/json")
    assert answer.status_code in {200, 400}
