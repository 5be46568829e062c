"""What administrators do with nodes, and what becomes of the runs and the token of each."""

from datetime import timedelta

import pytest
from django.utils import timezone

from studio.compute.models import Node
from studio.compute.services import make_node_token
from studio.compute.upkeep import cordon_node, drain_node, remove_node, tend_drains
from studio.core.errors import Forbidden
from studio.jobs.models import Run
from studio.jobs.scheduler import place_runs
from tests.factories import make_claimed_run, make_job, make_node
from tests.studio.compute.test_compute import beat

pytestmark = pytest.mark.django_db
DEEDS = ["cordon", "uncordon", "drain"]


def test_a_cordoned_node_gets_nothing_new_until_it_is_used_again(api, adam, alice):
    make_node("lab-1")
    make_job(owner=alice)
    answer = api(adam).post("/api/nodes/lab-1/cordon/")
    assert answer.json()["is_cordoned"] is True
    assert place_runs() == 0
    assert "set aside" in Run.objects.get().message
    assert api(adam).post("/api/nodes/lab-1/uncordon/").json()["is_cordoned"] is False
    assert place_runs() == 1


def test_what_was_placed_and_not_begun_leaves_a_cordoned_node(adam, alice):
    first, second = make_node("lab-1"), make_node("lab-2")
    make_job(owner=alice, node=first, placement_number=1, placed_at=timezone.now())
    cordon_node(by=adam, name="lab-1")
    place_runs()
    assert Run.objects.get().node == second


def test_a_drain_lets_runs_end_and_stops_the_platform_s_servers(api, adam, alice):
    node = make_node("lab-1")
    run = make_claimed_run(alice, node)
    server = make_job(
        owner=alice, kind="serve", node=node, status="running", claimed_at=timezone.now()
    )
    drained = api(adam).post("/api/nodes/lab-1/drain/", {"grace_s": 0}, format="json").json()
    assert drained["is_cordoned"] and not drained["drain"]["is_done"]
    run.refresh_from_db()
    assert run.status == "starting"
    assert server.runs.get().status == "stopping"
    Run.objects.update(status="succeeded", reason="completed", ended_at=timezone.now())
    (told,) = api(adam).get("/api/nodes/").json()
    assert told["drain"]["is_done"] and told["holdings"] == []


def test_a_drain_stops_runs_where_it_is_asked_to_and_says_why(adam, alice):
    run = make_claimed_run(alice, make_node("lab-1"))
    drain_node(by=adam, name="lab-1", reason="new memory", grace_s=600, stops_runs=True)
    tend_drains()
    run.refresh_from_db()
    assert run.status == "starting"
    Node.objects.update(drain_at=timezone.now() - timedelta(seconds=1))
    tend_drains()
    run.refresh_from_db()
    assert (run.status, run.reason) == ("stopping", "stopped_by_operator")
    assert "new memory" in run.message


def test_an_empty_node_is_removed_and_its_token_refused_at_once(api, adam, olga):
    token = make_node_token(name="lab-1")
    assert beat(api(), token).status_code == 200
    assert api(adam).delete("/api/nodes/lab-1/").status_code == 204
    refused = beat(api(), token)
    assert (refused.status_code, refused.json()["code"]) == (410, "node_removed")
    assert api(olga).get("/api/nodes/").json() == []
    assert api(adam).delete("/api/nodes/lab-1/").status_code == 404


def test_a_node_that_holds_a_run_goes_only_by_force_and_says_what_is_lost(api, adam, alice):
    run = make_claimed_run(alice, make_node("lab-1"))
    refused = api(adam).delete("/api/nodes/lab-1/")
    assert (refused.status_code, refused.json()["code"]) == (409, "node_not_empty")
    assert refused.json()["params"]["runs"] == 1
    assert api(adam).delete("/api/nodes/lab-1/?force=true").status_code == 204
    run.refresh_from_db()
    assert (run.status, run.reason) == ("failed", "node_lost")


def test_a_lost_node_is_removed_with_what_it_held(adam, alice):
    run = make_claimed_run(alice, make_node("lab-1"))
    Node.objects.update(last_seen_at=timezone.now() - timedelta(minutes=5))
    remove_node(by=adam, name="lab-1")
    run.refresh_from_db()
    assert run.reason == "node_lost"


def test_a_run_that_was_only_placed_waits_on_when_its_node_is_removed(adam, alice):
    node = make_node("lab-1")
    make_job(owner=alice, node=node, placement_number=1, placed_at=timezone.now())
    remove_node(by=adam, name="lab-1", is_forced=True)
    run = Run.objects.get()
    assert (run.status, run.node, run.placement_number) == ("queued", None, 2)


@pytest.mark.parametrize(
    ("body", "field"),
    [({"grace_s": 10**9}, "grace_s"), ({"reason": "x" * 201}, "reason"), ({"n": 1}, "n")],
)
def test_a_bad_drain_names_its_field(api, adam, body, field):
    make_node("lab-1")
    refused = api(adam).post("/api/nodes/lab-1/drain/", body, format="json")
    assert (refused.status_code, refused.json()["field"]) == (400, field)
    assert not Node.objects.get().is_cordoned


def test_only_administrators_may(api, carol, olga):
    make_node("lab-1")
    for client in (api(carol), api(olga)):
        for deed in DEEDS:
            assert client.post(f"/api/nodes/lab-1/{deed}/", {}).status_code == 404
        assert client.delete("/api/nodes/lab-1/").status_code == 404
    assert api().delete("/api/nodes/lab-1/").status_code in {401, 403}
    with pytest.raises(Forbidden):
        cordon_node(by=olga, name="lab-1")
    assert Node.objects.get().removed_at is None and not Node.objects.get().is_cordoned


def test_a_node_that_is_not_there_is_404(api, adam):
    for deed in DEEDS:
        assert api(adam).post(f"/api/nodes/none/{deed}/", {}, format="json").status_code == 404


def test_the_list_says_what_a_node_has_and_holds(api, olga, alice):
    node = make_node("lab-1", num_devices=1)
    node.devices.append(
        {"index": 1, "name": "Mock GPU", "memory_bytes": 80 * 2**30, "uuid": "MOCK-1"}
    )
    node.save()
    make_claimed_run(alice, node)
    (told,) = api(olga).get("/api/nodes/").json()
    assert [device["is_mock"] for device in told["devices"]] == [False, True]
    (held,) = told["holdings"]
    assert (held["kind"], held["owner"], held["is_going"]) == ("run", "alice", True)
    assert told["engine"] is None and told["drain"] is None and not told["is_lost"]
