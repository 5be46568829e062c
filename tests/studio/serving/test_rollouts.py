"""A model's new revision: beside the old one, tried, then switched to, or set aside."""

import pytest
from django.utils import timezone

from studio.core.errors import Conflict, NotFound
from studio.hub.models import Commit
from studio.serving.gate import try_server
from studio.serving.models import Deployment, DeploymentStatus, Rollout
from studio.serving.rollouts import (
    choose_commit,
    follow_head,
    roll_back,
    tend_rollouts,
)
from studio.serving.selectors import find_model
from tests.factories import make_user
from tests.studio.serving.deployed import deployed, push_model

NAME = "athanor/tiny"
ASK = {"model": NAME, "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def first(db, hub_dir):
    """The first revision, which is served."""
    commit = push_model(make_user("athanor"), "tiny")
    serve(commit)
    return commit


def serve(commit: Commit, status: str = DeploymentStatus.READY, **fields) -> Deployment:
    return Deployment.objects.create(
        model=NAME, revision=commit.sha, status=status, served_name="tiny", **fields
    )


def push(first: Commit, files: dict[str, bytes]) -> Commit:
    return push_model(first.author, "tiny", files=files)


def choose(user, model: str = NAME) -> str:
    return choose_commit(user, find_model(user, model)).sha


@pytest.fixture
def second(first, alice, monkeypatch):
    """A newer revision whose server starts as soon as it is asked for."""
    choose(alice)
    commit = push(first, {"weights.bin": b"other"})

    def start(*, commit, asked_by=None):
        return Deployment.objects.filter(revision=commit.sha).first() or serve(commit, "starting")

    monkeypatch.setattr("studio.serving.rollouts.ensure_deployment", start)
    return commit


def test_the_old_revision_answers_until_the_new_one_passes(alice, first, second):
    assert choose(alice) == first.sha
    assert choose(alice) == first.sha
    candidate = Deployment.objects.get(revision=second.sha)
    assert tend_rollouts(lambda deployment: "") == 0  # it is still starting
    candidate.status = DeploymentStatus.READY
    candidate.save()
    assert tend_rollouts(lambda deployment: "") == 1
    assert choose(alice) == second.sha
    assert Deployment.objects.get(revision=first.sha).is_retiring
    assert not Deployment.objects.get(revision=second.sha).is_retiring


def test_one_that_does_not_pass_is_set_aside_and_not_tried_again(alice, first, second):
    choose(alice)
    Deployment.objects.filter(revision=second.sha).update(status=DeploymentStatus.READY)
    tend_rollouts(lambda deployment: "It says nothing.")
    rollout = Rollout.objects.get()
    assert (rollout.served, rollout.refused) == (first.sha, second.sha)
    assert "It says nothing." in rollout.message
    assert choose(alice) == first.sha
    assert Rollout.objects.get().candidate == ""
    assert Deployment.objects.get(revision=second.sha).is_retiring


def test_one_that_does_not_start_is_set_aside(alice, first, second):
    choose(alice)
    Deployment.objects.filter(revision=second.sha).update(
        status=DeploymentStatus.FAILED, message="No weights."
    )
    tend_rollouts(lambda deployment: "")
    assert choose(alice) == first.sha
    assert "No weights." in Rollout.objects.get().message


def test_one_that_cannot_even_be_queued_is_nobodys_trouble(alice, first, second, monkeypatch):
    def refuse(*, commit, asked_by=None):
        raise Conflict("No node has a place.", code="full")

    monkeypatch.setattr("studio.serving.rollouts.ensure_deployment", refuse)
    assert choose(alice) == first.sha
    rollout = Rollout.objects.get()
    assert (rollout.candidate, rollout.refused) == ("", second.sha)


def test_where_nothing_answers_the_new_one_is_taken_at_once_and_mended_when_it_fails(
    alice, first, second
):
    Deployment.objects.all().update(status=DeploymentStatus.STOPPED)
    assert choose(alice) == second.sha
    serve(second, DeploymentStatus.FAILED, message="No weights.")
    assert tend_rollouts(lambda deployment: "") == 1
    assert choose(alice) == first.sha


def test_a_revision_that_has_answered_is_not_taken_back_when_a_restart_fails(alice, first, second):
    Deployment.objects.all().update(status=DeploymentStatus.STOPPED)
    assert choose(alice) == second.sha
    serve(second, DeploymentStatus.STOPPED, started_at=timezone.now())
    serve(second, DeploymentStatus.FAILED, message="Its settings ask for too much memory.")
    assert tend_rollouts(lambda deployment: "") == 0
    assert choose(alice) == second.sha


def test_a_named_revision_is_what_is_asked(alice, first, second):
    choose(alice)
    assert choose(alice, f"{NAME}@{second.sha}") == second.sha
    assert choose(alice, f"{NAME}@{first.sha[:12]}") == first.sha


def test_asking_for_a_named_revision_moves_nobody_else(alice, first, second):
    Rollout.objects.update(served="f" * 40)  # of a history that was deleted
    assert choose(alice, f"{NAME}@{first.sha}") == first.sha
    assert Rollout.objects.get().served == "f" * 40
    assert choose(alice) == second.sha
    assert Rollout.objects.get().served == second.sha


def test_what_an_operator_does_while_a_server_is_tried_stays(alice, olga, first, second):
    third = push(first, {"weights.bin": b"third"})
    Rollout.objects.update(served=second.sha, previous=first.sha, candidate=third.sha)
    serve(third)

    def go_back_meanwhile(deployment):
        roll_back(by=olga, rollout=Rollout.objects.get())
        return ""

    tend_rollouts(go_back_meanwhile)
    rollout = Rollout.objects.get()
    assert (rollout.served, rollout.is_held) == (first.sha, True)
    assert Deployment.objects.get(revision=third.sha).is_retiring


def test_two_looks_at_a_new_revision_do_not_set_the_served_one_aside(alice, first, second):
    choose(alice)
    Deployment.objects.filter(revision=second.sha).update(status=DeploymentStatus.READY)

    def look_again(deployment):
        tend_rollouts(lambda deployment: "")
        return "It answers nothing."

    tend_rollouts(look_again)
    rollout = Rollout.objects.get()
    assert (rollout.served, rollout.refused) == (second.sha, "")


def test_another_card_starts_nothing(alice, first):
    choose(alice)
    push(first, {"README.md": b"# Another card\n"})
    assert choose(alice) == first.sha
    assert choose(alice, f"{NAME}@main") == first.sha
    assert Rollout.objects.get().candidate == ""


def test_an_operator_goes_back_holds_and_follows_again(alice, olga, first, second):
    choose(alice)
    Deployment.objects.filter(revision=second.sha).update(status=DeploymentStatus.READY)
    tend_rollouts(lambda deployment: "")
    assert choose(alice) == second.sha
    rollout = roll_back(by=olga, rollout=Rollout.objects.get())
    assert rollout.is_held
    assert choose(alice) == first.sha
    assert not Deployment.objects.get(revision=first.sha).is_retiring
    third = push(first, {"weights.bin": b"third"})
    assert choose(alice) == first.sha
    follow_head(by=olga, rollout=rollout)
    assert choose(alice) == first.sha
    assert Rollout.objects.get().candidate == third.sha


def test_only_operators_move_a_rollout(api, alice, olga, first):
    choose(alice)
    rollout = Rollout.objects.get()
    with pytest.raises(NotFound):
        roll_back(by=alice, rollout=rollout)
    with pytest.raises(Conflict, match="one revision only"):
        roll_back(by=olga, rollout=rollout)
    assert api(alice).get("/api/rollouts/").status_code == 404
    assert api(alice).post(f"/api/rollouts/{rollout.pk}/follow/").status_code == 404
    shown = api(olga).get("/api/rollouts/").json()["results"]
    assert [each["served"] for each in shown] == [first.sha]
    assert api(olga).post(f"/api/rollouts/{rollout.pk}/follow/").status_code == 200


def test_the_gate_asks_a_real_server(tiny):
    with deployed(tiny) as server:
        deployment = Deployment.objects.get()
        assert try_server(deployment) == ""
        assert len(server.chats) == 3
        server.words = [" "]
        assert "with nothing" in try_server(deployment)
        server.base = "other"
        assert "Unknown model." in try_server(deployment)
        server.health = 503
        assert "not well" in try_server(deployment)
    assert "did not answer" in try_server(deployment)


def test_health_is_asked_of_the_server_itself(api, alice, olga, tiny, settings):
    settings.ALLOWED_HOSTS = ["testserver"]
    with deployed(tiny):
        deployment = Deployment.objects.get()
        told = api(olga).get(f"/api/deployments/{deployment.pk}/health/").json()
        assert told == {"status": "ok", "facts": {"num_running_now": 2}}
        # Counts of a shared server would tell one what another asks.
        told = api(alice).get(f"/api/deployments/{deployment.pk}/health/").json()
        assert told == {"status": "ok", "facts": {}}
    told = api(alice).get(f"/api/deployments/{deployment.pk}/health/").json()
    assert told["status"] == "unreachable"


def test_the_gateway_switches_without_a_refusal(client_of, alice, tiny):
    client = client_of(alice)
    with deployed(tiny) as old:
        assert client.post("/v1/chat/completions", json=ASK).status_code == 200
        newer = push_model(tiny.author, "tiny", files={"weights.bin": b"other"})
        with deployed(newer) as new:
            new.words = ["New."]
            said = client.post("/v1/chat/completions", json=ASK).json()
            assert said["choices"][0]["message"]["content"] == "".join(old.words)
            tend_rollouts(try_server)
            said = client.post("/v1/chat/completions", json=ASK).json()
            assert said["choices"][0]["message"]["content"] == "New."
