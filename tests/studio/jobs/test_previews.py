"""A look at what is learnt: a run of the studio's own, seen by who asked for it and nobody else."""

import pytest

from engine.specs import InspectSpec
from engine.specs.contract import DataContract, FileContract, SourceContract
from engine.specs.inspect import Inspection, Segment, ShownSample
from studio.jobs.ingest import claim_run
from studio.jobs.models import Job
from studio.jobs.scheduler import make_order, place_runs
from studio.points.selectors import get_balance
from tests.studio.jobs.repos import make_dataset
from tests.studio.jobs.test_ingest import post, start

pytestmark = pytest.mark.django_db
INSPECTION = Inspection(
    contract=DataContract(
        sources=[
            SourceContract(
                name="alice/guide@0",
                files=[FileContract(name="train.jsonl", format="messages", num_rows=2)],
            )
        ],
        max_length=512,
        max_bad_fraction=0,
    ),
    samples=[
        ShownSample(
            file="train.jsonl",
            row=1,
            source=0,
            num_tokens=3,
            segments=[
                Segment(text=" Hi", weight=0, num_tokens=1),
                Segment(text=" yes\n", weight=0.5, num_tokens=2),
            ],
        )
    ],
)


def look(api, user, spec: dict):
    return api(user).post("/api/jobs/previews/", {"spec": spec}, format="json")


def test_a_look_costs_nothing_and_is_in_no_list(api, alice, spec):
    answer = look(api, alice, spec | {"learning_rate": "half typed"})
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    assert get_balance(alice).held_mpoints == 0
    assert api(alice).get("/api/jobs/").json()["count"] == 0
    place_runs()
    order = make_order(Job.objects.get().current_run)
    assert isinstance(order.spec, InspectSpec)
    assert order.spec.dataset.startswith("alice/guide@")
    assert order.push_to is None


def test_the_same_wish_answers_the_same_look_and_another_ends_it(api, alice, spec):
    first = look(api, alice, spec).json()
    assert look(api, alice, spec).json()["id"] == first["id"]
    make_dataset("alice/other", owner=alice)
    assert look(api, alice, spec | {"dataset": "alice/other"}).json()["id"] != first["id"]
    ended = api(alice).get(f"/api/jobs/previews/{first['id']}/").json()
    assert ended["status"] == "stopped"
    again = look(api, alice, spec).json()  # what was stopped is begun anew
    assert again["id"] != first["id"]


def test_what_the_node_says_is_shown_to_the_one_who_asked(api, alice, bob, olga, spec):
    look_id = look(api, alice, spec).json()["id"]
    place_runs()
    run = Job.objects.get().current_run
    claim_run(run=run, placement_number=run.placement_number)
    post(run, start(), {"seq": 1, "type": "preview", "inspection": INSPECTION.model_dump()})
    shown = api(alice).get(f"/api/jobs/previews/{look_id}/").json()
    assert Inspection.model_validate(shown["inspection"]) == INSPECTION
    assert api(bob).get(f"/api/jobs/previews/{look_id}/").status_code == 404
    assert api(olga).get(f"/api/jobs/previews/{look_id}/").status_code == 404


def test_a_look_at_what_one_may_not_see_is_refused(api, carol, spec):
    answer = look(api, carol, spec)
    assert (answer.status_code, answer.json()["code"]) == (400, "dataset_not_found")
    assert not Job.objects.exists()


def test_a_look_without_a_model_names_the_field(api, alice, spec):
    answer = look(api, alice, {"dataset": spec["dataset"]})
    assert answer.status_code == 400
    assert "model" in answer.json()["field"]
