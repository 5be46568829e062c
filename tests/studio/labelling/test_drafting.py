"""Drafts by a model, asked for through the gateway from a real (fake-minded) server."""

import json

import pytest

from studio.compute.models import Flavor
from studio.core.errors import BadInput, Conflict
from studio.hub.models import Repo
from studio.labelling import drafting
from studio.labelling.drafting import (
    NewDrafting,
    advance_drafting,
    estimate_drafting,
    find_spans,
    list_due,
    start_drafting,
    stop_drafting,
)
from studio.labelling.models import Drafting, Project
from studio.points.selectors import get_balance
from studio.points.services import PointsExhausted, grant_points
from studio.serving.models import Deployment, DeploymentStatus
from studio.serving.serving_settings import change_settings
from tests.factories import make_user
from tests.studio.labelling.made import Labelled, make_project, talks, texts
from tests.studio.serving.conftest import server, studio, tiny

__all__ = ["server", "studio", "tiny"]
MODEL = "athanor/tiny"


@pytest.fixture
def owner(studio):
    return make_user("alice")


def start(project: Project, num_rows: int = 100, **wish) -> Drafting:
    wanted = NewDrafting(model=MODEL, num_rows=num_rows, **wish)
    return start_drafting(by=project.owner, project=project, wanted=wanted)


def finish(round_: Drafting) -> Drafting:
    for _ in range(20):
        advance_drafting(round_.pk)
        round_.refresh_from_db()
        if round_.state not in {"waiting", "running", "stopping"}:
            break
    return round_


def test_a_model_gives_the_second_answers_and_no_human_ones(owner, server, api, settings):
    project = make_project(owner, talks(6), kind="rank")
    done = finish(start(project))
    assert (done.state, done.num_made, done.num_failed) == ("finished", 6, 0)
    project.refresh_from_db()
    assert (project.next_draft_row, project.num_answers) == (6, 0)
    assert server.chats[0]["messages"] == [{"role": "user", "content": "q0"}]
    settings.ALLOWED_HOSTS = ["testserver"]
    work = Labelled(api(owner), project).next()
    assert sorted(work["answers"]) == ["Be well.", "a0"]


def test_a_round_stops_and_another_goes_on_behind_it(owner, server):
    project = make_project(owner, talks(6))
    first = start(project, num_rows=4)
    assert list_due() == [first.pk]
    with pytest.raises(Conflict) as refused:
        start(project)
    assert refused.value.code == "drafting_active"
    stop_drafting(by=owner, project=project)
    first.refresh_from_db()
    assert (first.state, list_due()) == ("stopped", [])
    assert stop_drafting(by=owner, project=project) is None
    assert finish(start(project, num_rows=2)).num_made == 2
    project.refresh_from_db()
    assert (finish(start(project)).first_row, len(server.chats)) == (2, 6)
    project.refresh_from_db()
    with pytest.raises(Conflict) as refused:
        start(project)
    assert refused.value.code == "nothing_to_draft"


def test_a_wish_to_stop_is_seen_while_rows_are_in_hand(owner, server, monkeypatch):
    project = make_project(owner, talks(6))
    round_ = start(project)
    really_keep = drafting._keep

    def keep_and_stop(*arguments):
        stop_drafting(by=owner, project=project)
        return really_keep(*arguments)

    monkeypatch.setattr(drafting, "_keep", keep_and_stop)
    done = finish(round_)
    assert (done.state, done.num_made) == ("stopped", drafting.AT_ONCE)


def test_a_server_that_is_away_pauses_the_round_with_a_sentence(owner, server):
    project = make_project(owner, talks(2))
    Deployment.objects.update(url="http://127.0.0.1:9")
    round_ = start(project)
    advance_drafting(round_.pk)
    round_.refresh_from_db()
    assert (round_.state, round_.code) == ("waiting", "model_unreachable")
    done = finish(round_)
    assert done.state == "paused" and "does not answer" in done.message
    assert (done.num_made, done.next_row) == (0, 0)


def test_a_model_that_starts_is_waited_for_without_a_worker(owner, server):
    project = make_project(owner, talks(2))
    Deployment.objects.update(status=DeploymentStatus.STARTING)
    round_ = start(project)
    advance_drafting(round_.pk)
    round_.refresh_from_db()
    assert (round_.state, round_.num_tries, server.chats) == ("waiting", 0, [])
    Deployment.objects.update(status=DeploymentStatus.READY)
    assert finish(round_).state == "finished"


def test_a_round_that_a_worker_has_in_hand_is_left_alone(owner, server):
    from django.utils import timezone

    round_ = start(make_project(owner, talks(2)))
    Drafting.objects.update(claimed_until=timezone.now() + drafting._CLAIM)
    advance_drafting(round_.pk)
    assert (server.chats, list_due()) == ([], [])


def test_an_unknown_model_is_refused_before_anything_begins(owner, server):
    project = make_project(owner, talks(2))
    with pytest.raises(BadInput) as refused:
        start_drafting(by=owner, project=project, wanted=NewDrafting(model="athanor/none"))
    assert refused.value.field == "model"
    assert not Drafting.objects.exists()


def test_the_owner_pays_by_the_time_it_took_up_to_the_limit(owner, server):
    Flavor.objects.filter(name="serve").update(price_mpoints_per_hour=3_600_000_000)
    grant_points(by=None, to=owner, mpoints=50_000, note="for the test", key="t")
    project = make_project(owner, talks(6))
    with pytest.raises(BadInput) as refused:
        start(project)
    assert refused.value.code == "limit_missing"
    with pytest.raises(PointsExhausted):
        start(project, limit_mpoints=60_000)
    assert not Drafting.objects.exists()
    cost = estimate_drafting(by=owner, project=project, num_rows=100)
    assert (cost.num_rows, cost.mpoints, cost.is_measured) == (6, 6_000_000, False)
    round_ = start(project, limit_mpoints=1000)
    assert get_balance(owner).held_mpoints == 1000
    done = finish(round_)
    assert (done.state, done.code, done.spent_mpoints) == ("paused", "limit_reached", 1000)
    assert get_balance(owner).total == 49_000 and get_balance(owner).held_mpoints == 0
    project.refresh_from_db()
    assert estimate_drafting(by=owner, project=project, num_rows=2).is_measured


def test_a_models_spans_are_found_in_the_text(owner, server):
    wish = {"kind": "spans", "text_field": "text", "labels": ["PER"]}
    project = make_project(owner, texts("\u674e\u767d met \u674e\u767d"), **wish)
    server.words = ['Sure: [{"label": "PER", "text": "\u674e\u767d"}, {"label": "X"}, 3]']
    assert finish(start(project)).num_made == 1
    assert "PER" in json.dumps(server.chats[0]["messages"])
    spans = project.drafts.get().spans
    assert spans == [
        {"start": 0, "end": 2, "label": "PER"},
        {"start": 7, "end": 9, "label": "PER"},
    ]


@pytest.mark.parametrize("reply", ["", "none", "[", "[1, {}]", '{"a": []}', "[" * 5000 + "]"])
def test_a_reply_that_is_no_list_names_no_span(reply):
    assert find_spans(reply, "text", ["PER"]) == []


def test_a_model_with_a_flavor_of_its_own_is_priced_by_that(owner, server):
    Flavor.objects.filter(name="serve").update(price_mpoints_per_hour=0)
    Flavor.objects.filter(name="cpu-2").update(price_mpoints_per_hour=3_600_000_000)
    boss = make_user("olga", role="operator")
    repo = Repo.objects.get(name="tiny")
    change_settings(by=boss, repo=repo, spec={}, flavor_name="cpu-2")
    project = make_project(owner, talks(6))
    assert estimate_drafting(by=owner, project=project, num_rows=6).mpoints == 0
    cost = estimate_drafting(by=owner, project=project, num_rows=6, model=MODEL)
    assert cost.mpoints == 6_000_000
    with pytest.raises(BadInput) as refused:
        start(project)
    assert refused.value.code == "limit_missing"
