"""Deployments: one per base, in step with its run, stopped when idle."""

from datetime import timedelta

import pytest
from django.utils import timezone

from engine.events import Endpoint
from engine.status import Reason, Status
from studio.core.errors import NotFound, Unavailable
from studio.jobs.hooks import get_listener
from studio.jobs.models import Job, Run
from studio.jobs.moves import Move, move_run
from studio.serving.models import Deployment, DeploymentStatus
from studio.serving.services import (
    ensure_deployment,
    get_server_token,
    mark_used,
    stop_deployment,
    tend_deployments,
)
from tests.factories import make_user
from tests.studio.serving.deployed import push_model

pytestmark = pytest.mark.django_db


@pytest.fixture
def commit(db):
    return push_model(make_user("athanor", role="administrator"), "tiny")


@pytest.fixture
def deployment(commit):
    return ensure_deployment(commit=commit)


def run_of(deployment: Deployment) -> Run:
    return Run.objects.select_related("job").get(job=deployment.job)


def begin(deployment: Deployment, status: Status = Status.RUNNING) -> Run:
    run = run_of(deployment)
    move_run(run, Move(Status.STARTING))
    if status is not Status.STARTING:
        move_run(run, Move(status))
    return run


def come_up(deployment: Deployment) -> Run:
    run = begin(deployment)
    event = Endpoint(seq=1, time=0, url="http://10.0.0.2:8000/", models=["athanor/tiny@x"])
    get_listener("serve").on_endpoint(run, event)
    deployment.refresh_from_db()
    return run


def test_a_base_is_deployed_once(commit, deployment):
    assert ensure_deployment(commit=commit) == deployment
    job = Job.objects.get()
    assert (job.kind, job.flavor.name, job.is_platform) == ("serve", "serve", True)
    assert job.owner.username == "athanor"


def test_another_commit_is_another_deployment(deployment):
    new = push_model(make_user("bob"), "tiny", files={"a": b"other"})
    assert ensure_deployment(commit=new) != deployment


def test_the_server_is_known_once_it_says_where_it_is(deployment):
    come_up(deployment)
    assert deployment.status == DeploymentStatus.READY
    assert deployment.url == "http://10.0.0.2:8000"
    assert deployment.served_name == "athanor/tiny@x"
    assert deployment.started_at is not None


def test_the_order_carries_the_token_that_the_gateway_shows(deployment):
    token = get_listener("serve").get_server_token(run_of(deployment))
    assert token == get_server_token(deployment.pk)
    assert get_server_token(ensure_deployment_id()) != token


def ensure_deployment_id():
    return Deployment.objects.create(model="a/b", revision="c" * 40).pk


def test_a_server_that_fails_says_why_and_is_not_tried_at_each_request(commit, deployment):
    run = begin(deployment)
    move_run(run, Move(Status.FAILED, Reason.OUT_OF_MEMORY, "It took 4 GiB and had 3 GiB."))
    deployment.refresh_from_db()
    assert deployment.status == DeploymentStatus.FAILED
    with pytest.raises(Unavailable, match="It took 4 GiB and had 3 GiB"):
        ensure_deployment(commit=commit)
    Deployment.objects.update(ended_at=timezone.now() - timedelta(minutes=1))
    assert ensure_deployment(commit=commit) != deployment


def test_one_that_stopped_is_started_anew(commit, deployment):
    come_up(deployment)
    stop_deployment(by=None, deployment=deployment, reason=Reason.IDLE)
    assert (deployment.status, deployment.url) == (DeploymentStatus.STOPPING, "")
    assert run_of(deployment).status == Status.STOPPING
    assert ensure_deployment(commit=commit) != deployment
    run = run_of(deployment)
    move_run(run, Move(Status.STOPPED, Reason.IDLE, "Nobody used it."))
    deployment.refresh_from_db()
    assert (deployment.status, deployment.message) == (DeploymentStatus.STOPPED, "Nobody used it.")


def test_one_that_waits_in_the_queue_stops_at_once(deployment):
    stop_deployment(by=None, deployment=deployment)
    assert deployment.status == DeploymentStatus.STOPPED


def test_only_what_is_idle_is_stopped(deployment):
    come_up(deployment)
    assert tend_deployments() == 0
    Deployment.objects.update(last_used_at=timezone.now() - timedelta(minutes=31))
    assert tend_deployments() == 1
    deployment.refresh_from_db()
    assert deployment.status == DeploymentStatus.STOPPING
    assert run_of(deployment).stop_reason == Reason.IDLE


def test_use_puts_idleness_off(deployment):
    come_up(deployment)
    Deployment.objects.update(last_used_at=timezone.now() - timedelta(minutes=31))
    mark_used(deployment=deployment)
    assert tend_deployments() == 0


def test_one_whose_run_ended_unheard_is_ended(deployment):
    come_up(deployment)
    now = timezone.now()
    Run.objects.update(status="failed", reason="node_lost", message="Lost.", ended_at=now)
    assert tend_deployments() == 1
    deployment.refresh_from_db()
    assert (deployment.status, deployment.message) == (DeploymentStatus.FAILED, "Lost.")


def test_members_do_not_stop_deployments(deployment, alice):
    with pytest.raises(NotFound):
        stop_deployment(by=alice, deployment=deployment)


URL = "/api/deployments/"


def test_operators_see_and_stop_deployments(api, olga, deployment):
    come_up(deployment)
    Deployment.objects.update(adapters=["alice/secret@1"])
    (shown,) = api(olga).get(URL).json()["results"]
    assert (shown["model"], shown["status"], shown["adapters"]) == (
        "athanor/tiny",
        "ready",
        ["alice/secret@1"],
    )
    assert shown["job_id"] == str(deployment.job_id)
    stopped = api(olga).post(f"{URL}{deployment.pk}/stop/").json()
    assert stopped["status"] == "stopping"


def test_members_see_the_deployments_of_models_they_may_see(api, alice, bob, deployment):
    secret = push_model(bob, "secret", visibility="private")
    ensure_deployment(commit=secret)
    Deployment.objects.update(adapters=["bob/secret@1"])
    (shown,) = api(alice).get(URL).json()["results"]
    assert (shown["model"], shown["adapters"]) == ("athanor/tiny", [])
    assert {d["model"] for d in api(bob).get(URL).json()["results"]} == {
        "athanor/tiny",
        "bob/secret",
    }


def test_a_stranger_cannot_stop_or_see_a_deployment(api, carol, bob):
    secret = push_model(bob, "secret", visibility="private")
    one = ensure_deployment(commit=secret)
    assert api(carol).post(f"{URL}{one.pk}/stop/").status_code == 404
    assert api(carol).get(URL).json()["results"] == []
    assert api().get(URL).status_code == 401
