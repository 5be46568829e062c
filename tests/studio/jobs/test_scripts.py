"""Scripts at the API: who may launch which, where they are placed, and what their order says."""

from datetime import timedelta

import pytest
from django.utils import timezone

from studio.jobs.models import Job
from studio.jobs.scheduler import make_order, place_runs
from studio.jobs.services import retry_job, submit_job
from studio.machines.images import register_image, retire_image
from studio.machines.models import NodeEngine
from studio.points.selectors import get_balance
from tests.factories import make_node
from tests.studio.jobs.repos import make_dataset, make_model
from tests.studio.machines.conftest import have_engine

pytestmark = pytest.mark.django_db
SPEC = {"kind": "script", "command": ["python", "train.py"]}
FIRST, SECOND = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.fixture
def node(db, settings, tmp_path):
    settings.DRIVE_DIR = tmp_path
    node = make_node()
    have_engine(node)
    register_image(by=None, name="base", reference=FIRST)
    return node


def submit(owner, **changes) -> Job:
    return submit_job(owner=owner, spec=SPEC | changes, flavor_name="cpu-1")[0]


def post(client, **changes):
    body = {"spec": SPEC | changes, "flavor": "cpu-1"}
    return client.post("/api/jobs/", body, format="json")


def test_a_script_holds_its_time_limit_and_runs_in_the_first_image(api, rich_alice, node):
    told = post(api(rich_alice), time_limit_minutes=30)
    assert told.status_code == 201, told.json()
    body = told.json()
    assert (body["kind"], body["name"]) == ("script", "python train.py")
    assert body["resolved"] == {"image": "base"} and body["output_repo"] is None
    held = get_balance(rich_alice).held_mpoints
    assert 15_000 <= held < 15_200  # half an hour of 30 points an hour, and a tick
    estimate = api(rich_alice).post(
        "/api/jobs/estimate/", {"spec": SPEC, "flavor": "cpu-1"}, format="json"
    )
    assert estimate.json()["ok"] and estimate.json()["cost_mpoints"] == 30_000


def test_a_stranger_learns_nothing_of_it(api, rich_alice, carol, node):
    job = submit(rich_alice)
    run = job.current_run
    for path in (f"jobs/{job.pk}/", f"runs/{run.pk}/log/", f"runs/{run.pk}/log/download/"):
        assert api(carol).get(f"/api/{path}").status_code == 404
    assert api(carol).post(f"/api/jobs/{job.pk}/stop/").status_code == 404


def test_without_an_engine_it_is_refused_in_a_sentence(api, rich_alice, node):
    NodeEngine.objects.update(version="", problem="Set `userns-remap` in its daemon.json.")
    told = post(api(rich_alice))
    assert (told.status_code, told.json()["code"]) == (503, "no_container_engine")
    assert told.json()["message"].endswith("Set `userns-remap` in its daemon.json.")
    assert not Job.objects.exists() and get_balance(rich_alice).held_mpoints == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"command": []}, "spec.command"),
        ({"image": "other"}, "spec.image"),
        ({"code": "alice/nothing"}, "spec.code"),
        ({"inputs": {"x": "datasets/alice/nothing"}}, "spec.inputs.x"),
        ({"inputs": {"x": "/etc"}}, "spec.inputs.x"),
        ({"environment": {"X": 1}}, "spec.environment.X"),
        ({"time_limit_minutes": 0}, "spec.time_limit_minutes"),
        ({"secret": "x"}, "spec.secret"),
        ({"home": 3}, "spec.home"),
    ],
)
def test_bad_input_names_its_field(api, rich_alice, node, change, field):
    told = post(api(rich_alice), **change)
    assert told.status_code == 400, told.json()
    assert told.json()["field"] == field or field in str(told.json())
    assert not Job.objects.exists()


def test_more_than_the_balance_is_not_begun(api, alice, node):
    told = post(api(alice))
    assert told.status_code == 409 and told.json()["code"] == "points_exhausted"


def test_where_no_image_is_registered_it_says_so(api, rich_alice, node):
    retire_image(by=None, name="base")
    told = post(api(rich_alice))
    assert told.status_code == 400 and told.json()["code"] == "no_image"


def test_an_image_of_other_flavors_is_refused(api, rich_alice, node):
    register_image(by=None, name="base", reference=FIRST, flavors=["cpu-2"])
    told = post(api(rich_alice))
    assert told.status_code == 400 and told.json()["code"] == "image_not_on_flavor"


def test_another_persons_private_repo_is_no_input(api, rich_alice, carol, node):
    from studio.hub.models import Repo

    make_dataset("carol/own", owner=carol)
    Repo.objects.filter(namespace="carol").update(visibility="private")
    told = post(api(rich_alice), inputs={"x": "datasets/carol/own"})
    assert told.status_code == 400 and told.json()["code"] == "dataset_not_found"


def test_its_order_says_what_the_container_is_made_of(rich_alice, node):
    make_model("athanor/tiny")
    make_dataset("alice/guide", owner=rich_alice)
    job = submit(
        rich_alice,
        code="athanor/tiny",
        inputs={"guide": "datasets/alice/guide"},
        output="made",
        environment={"LR": "1"},
    )
    assert place_runs() == 1
    run = job.runs.get()
    order = make_order(run)
    assert order.container is not None and order.push_to == "alice/made"
    assert (order.container.image, order.container.home) == (FIRST, str(rich_alice.pk))
    assert order.container.tenant == f"u{rich_alice.pk}"
    assert order.container.limits.memory_bytes == job.flavor.memory_bytes
    places = order.spec.list_inputs()
    assert all(len(ref.partition("@")[2]) == 40 for _, ref in places.values())
    assert [kind for kind, _ in places.values()] == ["model", "dataset"]
    assert order.run_token not in order.container.model_dump_json()


def test_an_empty_home_is_nobodys_drive(rich_alice, node):
    job = submit(rich_alice, home="empty")
    assert make_order(job.current_run).container.home is None


def test_a_retry_runs_in_the_image_of_its_launch(rich_alice, node):
    job = submit(rich_alice)
    register_image(by=None, name="base", reference=SECOND)
    job.runs.update(status="failed", reason="crashed", ended_at=timezone.now())
    retry_job(by=rich_alice, job=job, resume=False)
    job.refresh_from_db()
    assert make_order(job.current_run).container.image == FIRST
    assert make_order(submit(rich_alice).current_run).container.image == SECOND


def test_it_goes_to_a_node_with_an_engine_only(rich_alice, node):
    make_node("a-plain", cores=64)
    job = submit(rich_alice)
    place_runs()
    assert job.runs.get().node == node


def test_it_waits_while_no_engine_answers_and_says_so(rich_alice, node):
    job = submit(rich_alice)
    NodeEngine.objects.update(reported_at=timezone.now() - timedelta(minutes=5))
    assert place_runs() == 0
    assert job.runs.get().message.startswith("No node with a Docker engine is online")
    NodeEngine.objects.update(reported_at=timezone.now())
    assert place_runs() == 1


def test_the_form_can_be_drawn(api, rich_alice):
    told = api(rich_alice).get("/api/specs/script/").json()
    assert "command" in told["schema"]["properties"] and told["usual"] == {}
