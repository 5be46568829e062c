"""The advisor's time rests on what earlier runs measured, and says so."""

from datetime import timedelta

import pytest
from django.utils import timezone

from studio.jobs.models import Run
from tests.factories import make_job

pytestmark = pytest.mark.django_db
START_S = 15.0


@pytest.fixture
def estimate(api, rich_alice, spec):
    def ask(flavor: str = "cpu-1", **changes) -> dict:
        body = {"spec": {**spec, **changes}, "flavor": flavor}
        return api(rich_alice).post("/api/jobs/estimate/", body, format="json").json()

    return ask


def make_measured(
    owner, *, flops: float, flavor="cpu-1", age_h=0, status="succeeded", **spec
) -> Run:
    """A run that ended and told how fast it was."""
    job = make_job(
        owner=owner,
        flavor=flavor,
        status=status,
        reason="succeeded",
        ended_at=timezone.now() - timedelta(hours=age_h),
        latest_metrics={"flops_per_s": flops, "roofline_flops_per_s": 10 * flops},
    )
    job.spec = job.spec | spec
    job.save()
    assert job.current_run is not None
    return job.current_run


def test_without_a_run_the_time_is_a_guess_and_says_so(estimate):
    told = estimate()
    assert (told["duration_basis"], told["duration_num_runs"]) == ("guess", 0)


def test_runs_of_the_same_model_here_tell_the_time(alice, estimate):
    guessed = estimate()["duration_s"] - START_S
    for flops in (1e9, 2e9, 60e9):  # a machine that was busy once, and one that was not
        make_measured(alice, flops=flops)
    told = estimate()
    assert (told["duration_basis"], told["duration_num_runs"]) == ("runs", 3)
    slow = told["duration_s"] - START_S
    for age_h in (1, 2):
        make_measured(alice, flops=1e9, age_h=age_h)
    slower = estimate()
    assert slower["duration_num_runs"] == 5
    assert slower["duration_s"] - START_S == pytest.approx(2 * slow)
    assert slow > guessed
    assert slower["cost_mpoints"] > told["cost_mpoints"]
    assert slower["hold_mpoints"] > told["hold_mpoints"]


def test_old_runs_give_way_to_newer_ones(alice, estimate):
    for age_h in range(5):
        make_measured(alice, flops=2e9, age_h=age_h)
    before = estimate()
    for _ in range(9):
        make_measured(alice, flops=100e9, age_h=50)
    assert estimate() == before


@pytest.mark.parametrize(
    "other",
    [
        {"model": "athanor/other"},
        {"method": "full"},
        {"compile": True},
    ],
)
def test_another_model_or_method_tells_how_fast_the_machine_is(alice, estimate, other):
    make_measured(alice, flops=8e9, **other)
    told = estimate()
    assert (told["duration_basis"], told["duration_num_runs"]) == ("machine", 1)
    make_measured(alice, flops=4e9, age_h=1, **other)
    make_measured(alice, flops=4e9, age_h=1, **other)
    slower = estimate()
    assert slower["duration_s"] - START_S == pytest.approx(2 * (told["duration_s"] - START_S))


@pytest.mark.parametrize(
    "other",
    [{"flavor": "cpu-2"}, {"status": "failed"}, {"precision": "fp32"}, {"gone": 1}],
)
def test_what_ran_elsewhere_or_failed_tells_nothing(alice, estimate, other):
    make_measured(alice, flops=8e9, **other)
    assert estimate()["duration_basis"] == "guess"


def test_any_version_of_a_model_is_as_fast(alice, estimate):
    make_measured(alice, flops=8e9, model=f"athanor/tiny@{'a' * 40}")
    assert estimate()["duration_basis"] == "runs"
