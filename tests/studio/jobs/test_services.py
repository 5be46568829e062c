"""Launch, stop, retry: what makes a job, and what is refused in which words."""

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from pydantic import ValidationError

from studio.core.errors import Conflict, NotFound, StudioError
from studio.jobs import services
from studio.jobs.advisor import advise
from studio.jobs.models import Job, Run
from studio.jobs.scheduler import make_order
from studio.jobs.services import rename_job, retry_job, stop_job, submit_job
from studio.points.selectors import get_balance
from studio.points.services import grant_points
from tests.factories import make_claimed_run, make_job, make_run
from tests.studio.jobs.repos import make_dataset, make_model

pytestmark = pytest.mark.django_db


def submit(owner, spec, **fields) -> Job:
    return submit_job(owner=owner, spec=spec, flavor_name="cpu-1", **fields)[0]


def test_a_launch_makes_a_job_with_a_queued_run_and_a_hold(rich_alice, spec):
    job = submit(rich_alice, spec)
    run = job.current_run
    assert (run.index, run.status, job.name) == (1, "queued", "tiny on guide")
    assert get_balance(rich_alice).held_mpoints > 0


def test_the_refs_are_pinned_and_the_spec_is_kept_as_typed(rich_alice, spec):
    job = submit(rich_alice, spec)
    assert job.spec == spec
    assert all(len(ref.partition("@")[2]) == 40 for ref in job.resolved.values())


def test_the_output_is_named_after_model_and_dataset_or_as_asked(rich_alice, spec):
    assert submit(rich_alice, spec).output_repo == "alice/tiny-guide"
    assert submit(rich_alice, {**spec, "output": "mine"}).output_repo == "alice/mine"


def test_a_spec_that_breaks_its_own_rules_makes_nothing(rich_alice, spec):
    with pytest.raises(ValidationError):
        submit(rich_alice, {**spec, "learning_rate": -1})
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": "nobody/nothing"}, "model_not_found"),
        ({"dataset": "nobody/nothing"}, "dataset_not_found"),
        ({"model": "./local"}, "path_not_offered"),
        ({"micro_batch_tokens": 4_000_000, "tokens_per_step": 4_000_000}, "not_enough_memory"),
    ],
)
def test_what_stands_against_a_launch_is_refused_by_its_code(rich_alice, spec, change, code):
    with pytest.raises(StudioError) as refusal:
        submit(rich_alice, {**spec, "max_length": 64, **change})
    assert refusal.value.code == code
    assert not Job.objects.exists()


def test_an_adapter_is_not_written_over_a_base_model(rich_alice, spec):
    make_model("alice/mine")
    with pytest.raises(StudioError) as refusal:
        submit(rich_alice, {**spec, "output": "Mine"})
    assert (refusal.value.code, refusal.value.field) == ("output_taken", "spec.output")


def test_users_launch_no_servers(rich_alice, spec):
    with pytest.raises(StudioError) as refusal:
        submit(rich_alice, {"kind": "serve", "model": "athanor/tiny"})
    assert refusal.value.code == "kind_not_offered"


def test_a_flavor_that_is_not_offered_is_refused_by_name(rich_alice, spec):
    with pytest.raises(StudioError) as refusal:
        submit_job(owner=rich_alice, spec=spec, flavor_name="serve")
    assert refusal.value.code == "unknown_flavor"


def test_without_points_the_refusal_says_how_many_are_missing(alice, spec):
    with pytest.raises(StudioError) as refusal:
        submit(alice, spec)
    assert refusal.value.code == "points_exhausted"
    assert refusal.value.status == 409
    assert refusal.value.params["missing_mpoints"] > 0
    assert not Job.objects.exists()


def test_the_same_key_answers_the_same_job(rich_alice, spec):
    first, is_new = submit_job(owner=rich_alice, spec=spec, flavor_name="cpu-1", key="k")
    again, is_new_again = submit_job(owner=rich_alice, spec=spec, flavor_name="cpu-1", key="k")
    assert (first.pk, is_new, is_new_again) == (again.pk, True, False)


def test_the_same_key_for_another_launch_is_a_conflict(rich_alice, spec):
    submit(rich_alice, spec, key="k")
    with pytest.raises(Conflict) as refusal:
        submit(rich_alice, {**spec, "seed": 5}, key="k")
    assert refusal.value.code == "idempotency_conflict"


def test_a_launch_sent_again_is_answered_though_it_took_the_last_points(
    alice, adam, spec, monkeypatch
):
    hold = advise(alice, spec, "cpu-1").hold_mpoints
    grant_points(by=adam, to=alice, mpoints=int(hold * 1.5), note="", key="one")
    made = []

    def advise_after_the_other(*args):
        monkeypatch.setattr(services, "advise", advise)
        made.append(submit(alice, spec, key="k"))
        return advise(*args)

    monkeypatch.setattr(services, "advise", advise_after_the_other)
    assert submit(alice, spec, key="k") in made
    assert Job.objects.count() == 1


def test_a_key_is_its_owners_own(rich_alice, bob, adam, spec):
    submit(rich_alice, spec, key="k")
    grant_points(by=adam, to=bob, mpoints=100_000, note="", key="bob")
    make_dataset("bob/guide", owner=bob)
    assert submit(bob, {**spec, "dataset": "bob/guide"}, key="k").owner == bob


def test_the_platform_launches_servers_without_points(adam):
    spec = {"kind": "serve", "model": "athanor/tiny@" + "a" * 40}
    job, _ = submit_job(owner=adam, spec=spec, flavor_name="serve", is_platform=True)
    assert (job.is_platform, job.kind) == (True, "serve")


def test_a_queued_job_stops_at_once_and_gives_its_points_back(rich_alice, spec):
    job = submit(rich_alice, spec)
    stop_job(by=rich_alice, job=job)
    run = Run.objects.get(job=job)
    assert (run.status, run.reason) == ("stopped", "stopped_by_owner")
    assert get_balance(rich_alice).available_mpoints == 100_000


def test_a_running_job_is_asked_to_stop(alice):
    run = make_claimed_run(alice, status="running")
    stop_job(by=alice, job=run.job)
    run.refresh_from_db()
    assert (run.status, run.stop_reason) == ("stopping", "stopped_by_owner")


def test_the_first_stop_counts(alice, olga):
    run = make_claimed_run(alice, status="running")
    stop_job(by=olga, job=run.job)
    stop_job(by=alice, job=run.job)
    run.refresh_from_db()
    assert run.stop_reason == "stopped_by_operator"


def test_an_ended_job_stays_as_it_is(alice):
    ended = {"status": "failed", "reason": "crashed", "ended_at": timezone.now()}
    job = make_job(owner=alice, **ended)
    stop_job(by=alice, job=job)
    assert Run.objects.get(job=job).reason == "crashed"


def test_strangers_stop_retry_and_rename_nothing(alice, carol):
    job = make_job(owner=alice)
    with pytest.raises(NotFound):
        stop_job(by=carol, job=job)
    with pytest.raises(NotFound):
        retry_job(by=carol, job=job, resume=False)
    with pytest.raises(NotFound):
        rename_job(by=carol, job=job, name="mine")


def test_a_retry_is_run_two_of_the_same_job(rich_alice, spec):
    job = submit(rich_alice, spec)
    stop_job(by=rich_alice, job=job)
    retry_job(by=rich_alice, job=job, resume=False)
    assert [run.index for run in job.runs.order_by("index")] == [1, 2]
    assert job.current_run.index == 2
    assert get_balance(rich_alice).held_mpoints > 0


def test_a_retry_learns_from_what_the_first_run_learnt_from(rich_alice, spec):
    job = submit(rich_alice, spec)
    before = job.resolved
    stop_job(by=rich_alice, job=job)
    make_dataset("alice/guide", owner=rich_alice, num_bad=3)  # pushed since
    retry_job(by=rich_alice, job=job, resume=False)
    assert make_order(job.current_run).spec.dataset == before["dataset"]


def test_a_live_job_is_not_retried(rich_alice, spec):
    job = submit(rich_alice, spec)
    with pytest.raises(Conflict) as refusal:
        retry_job(by=rich_alice, job=job, resume=False)
    assert refusal.value.code == "not_ended"


def test_a_resume_goes_on_from_the_last_run_with_a_checkpoint(rich_alice, spec):
    job = submit(rich_alice, spec)
    stop_job(by=rich_alice, job=job)
    with pytest.raises(Conflict):
        retry_job(by=rich_alice, job=job, resume=True)
    first = job.runs.get()
    first.artifacts = [{"role": "checkpoint", "path": "checkpoints/step-20", "step": 20}]
    first.save()
    retry_job(by=rich_alice, job=job, resume=True)
    assert job.current_run.resume_run == first


def test_the_database_allows_one_live_run_per_job(alice):
    job = make_job(owner=alice)
    with pytest.raises(IntegrityError), transaction.atomic():
        make_run(job)


def test_the_database_allows_no_end_without_a_reason(alice):
    job = make_job(owner=alice)
    with pytest.raises(IntegrityError), transaction.atomic():
        Run.objects.filter(job=job).update(status="failed", ended_at=timezone.now())


def test_the_database_knows_the_statuses(alice):
    job = make_job(owner=alice)
    with pytest.raises(IntegrityError), transaction.atomic():
        Run.objects.filter(job=job).update(status="paused")


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_fifty_launches_with_points_for_one_make_one(alice, adam, spec):
    hold = advise(alice, spec, "cpu-1").hold_mpoints
    grant_points(by=adam, to=alice, mpoints=int(hold * 1.5), note="", key="one")
    outcomes = run_at_once(50, lambda: submit(alice, spec))
    assert outcomes.count("made") == 1
    assert outcomes.count("points_exhausted") == 49
    assert Job.objects.count() == 1
    assert get_balance(alice).available_mpoints >= 0


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_retries_sent_at_once_make_one_run_and_a_stop_finds_it(alice, adam, spec):
    grant_points(by=adam, to=alice, mpoints=10_000_000, note="", key="many")
    job = submit(alice, spec)
    stop_job(by=alice, job=job)
    outcomes = run_at_once(8, lambda: retry_job(by=alice, job=job, resume=False))
    assert sorted(outcomes) == ["made"] + ["not_ended"] * 7
    assert stop_job(by=alice, job=job).current_run.index == 2
    assert set(job.runs.values_list("status", flat=True)) == {"stopped"}


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_one_key_sent_twenty_times_at_once_makes_one_job(alice, adam, spec):
    grant_points(by=adam, to=alice, mpoints=10_000_000, note="", key="many")
    outcomes = run_at_once(20, lambda: submit(alice, spec, key="k"))
    assert outcomes == ["made"] * 20
    assert Job.objects.count() == 1


def run_at_once(count: int, work) -> list[str]:
    """Do the work in that many threads, let go together; return what came of each."""
    outcomes, gate = [], threading.Barrier(count)

    def attempt() -> None:
        gate.wait()
        try:
            work()
            outcomes.append("made")
        except StudioError as error:
            outcomes.append(error.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=attempt) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=timedelta(minutes=2).total_seconds())
    return outcomes
