"""Who pays for what: only time the node has proved, and never for the platform's faults."""

from datetime import timedelta

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from studio.jobs.billing import meter_runs
from studio.jobs.metering import get_billable_s, get_cost_mpoints, price_period
from studio.jobs.models import Run
from studio.jobs.reaping import reap_runs
from studio.jobs.services import stop_job
from studio.points.models import Transfer
from studio.points.selectors import get_balance, get_run_cost, get_run_hold, sum_entries
from studio.points.services import grant_points, hold_points
from tests.factories import make_claimed_run, make_job, make_node
from tests.studio.jobs.test_ingest import end, post, start

pytestmark = pytest.mark.django_db
T0 = 1_000_000.0


def make_running(owner, adam, *, hold: int = 1000, spare: int = 0) -> Run:
    """A run on cpu-1 (30 points an hour) that was claimed two hours ago."""
    grant_points(by=adam, to=owner, mpoints=hold + spare, note="", key=f"grant-{owner.pk}")
    run = make_claimed_run(owner, claimed_at=timezone.now() - timedelta(hours=2))
    hold_points(user=owner, mpoints=hold, run_id=run.pk, note="")
    post(run, start(), now=T0)
    return run


def live(run: Run, seconds: float) -> Run:
    post(run, now=T0 + seconds)
    run.refresh_from_db()
    return run


def test_a_minute_costs_a_sixtieth_of_the_hour(alice, adam):
    run = live(make_running(alice, adam), 60)
    assert get_cost_mpoints(run) == 500


def test_the_ledger_has_it_after_ten_minutes_and_everybody_else_at_once(alice, adam, api):
    run = live(make_running(alice, adam, hold=20_000), 590)
    meter_runs()
    assert get_run_cost(run.pk) == 0
    job = api(alice).get(f"/api/jobs/{run.job_id}/").json()
    assert (job["cost_mpoints"], job["held_mpoints"]) == (4916, 20_000 - 4916)
    assert job["run"]["cost_mpoints"] == 4916
    points = api(alice).get("/api/points/").json()
    assert (points["held_mpoints"], points["unwritten_mpoints"]) == (20_000 - 4916, 4916)
    assert points["burn_mpoints_per_hour"] == 30_000
    (shown,) = [
        each
        for each in api(adam).get("/api/users/").json()["results"]
        if each["username"] == "alice"
    ]
    assert shown["held_mpoints"] == 20_000 - 4916
    live(run, 600)
    meter_runs()
    assert get_run_cost(run.pk) == 5000
    assert api(alice).get("/api/points/").json()["unwritten_mpoints"] == 0


def test_the_meter_twice_charges_once(alice, adam):
    run = live(make_running(alice, adam, hold=9000), 660)
    meter_runs()
    meter_runs()
    assert get_run_cost(run.pk) == 5500


def test_silence_costs_nothing(alice, adam):
    """The studio's clock goes on, the node's last word does not."""
    run = live(make_running(alice, adam, hold=9000), 660)
    Run.objects.update(last_heartbeat_at=timezone.now() - timedelta(minutes=10))
    meter_runs()
    assert get_run_cost(run.pk) == 5500


def test_a_cut_that_heals_is_paid_by_the_nodes_clock(alice, adam):
    run = live(live(make_running(alice, adam), 10), 1810)
    assert get_billable_s(run) == 1810


def test_a_node_clock_that_leaps_charges_no_more_than_the_studio_saw_pass(alice, adam):
    run = make_running(alice, adam)
    Run.objects.filter(pk=run.pk).update(claimed_at=timezone.now() - timedelta(seconds=30))
    run = live(run, 10.0**7)
    assert get_billable_s(run) < 30 + 10 + 5


def test_the_end_settles_and_gives_the_rest_back(alice, adam):
    run = make_running(alice, adam, hold=1000)
    post(run, end(1, b"", time=T0 + 60), now=T0 + 61)
    assert get_run_cost(run.pk) == 500
    balance = get_balance(alice)
    assert (balance.available_mpoints, balance.held_mpoints) == (500, 0)


def test_a_platform_fault_gives_everything_back(alice, adam):
    run = live(make_running(alice, adam, hold=9000), 660)
    meter_runs()
    assert get_run_cost(run.pk) == 5500
    post(run, end(1, b"", "failed", reason="internal_error", time=T0 + 700))
    assert get_run_cost(run.pk) == 0
    assert get_balance(alice).available_mpoints == 9000


def test_a_users_fault_is_paid(alice, adam):
    run = live(make_running(alice, adam, hold=1000), 60)
    post(run, end(1, b"", "failed", reason="bad_data", time=T0 + 60))
    assert get_run_cost(run.pk) == 500


def test_a_run_that_never_ran_costs_nothing(alice, adam):
    run = make_running(alice, adam)
    Run.objects.filter(pk=run.pk).update(node_started_time=None, node_seen_time=None)
    run.refresh_from_db()
    assert get_billable_s(run) == 0


def test_used_up_points_stop_the_run_in_words(alice, adam):
    run = live(make_running(alice, adam, hold=400), 60)
    meter_runs()
    run.refresh_from_db()
    assert (run.status, run.stop_reason) == ("stopping", "points_exhausted")
    assert "used up" in post(run, now=T0 + 61).stop[1]
    assert get_balance(alice).available_mpoints == 0


def test_a_short_hold_is_topped_up_from_what_is_available(alice, adam):
    run = live(make_running(alice, adam, hold=400, spare=400), 60)
    meter_runs()
    run.refresh_from_db()
    assert run.status == "running"
    assert get_run_cost(run.pk) == 500
    assert get_run_hold(run.pk) == 300  # all that there is: ten minutes would be 5000


def test_a_run_that_outlasts_its_hold_holds_for_ten_minutes_more(alice, adam):
    run = live(make_running(alice, adam, hold=1000, spare=100_000), 120)
    for second in range(130, 1400, 10):
        meter_runs()
        live(run, second)
    moves = [made.reason for made in Transfer.objects.filter(run_id=run.pk).order_by("pk")]
    assert moves == ["hold", *["charge", "hold"] * 3]
    assert get_run_cost(run.pk) == 1000 + 2 * 5000


STEPS = st.lists(
    st.tuples(st.sampled_from(["live", "meter", "silence", "grant"]), st.floats(0.0, 400.0)),
    max_size=30,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=STEPS, ending=st.sampled_from(["succeeded", "failed", "lost"]), hold=st.integers(0, 9000)
)
@example(steps=[("live", 300.0), ("meter", 0.0)] * 6, ending="succeeded", hold=1000)
@example(steps=[("live", 300.0), ("meter", 0.0)] * 9, ending="succeeded", hold=9000)
def test_no_order_of_signs_of_life_and_ticks_charges_wrongly(alice, adam, steps, ending, hold):
    with transaction.atomic():
        _play(alice, adam, steps, ending, hold)
        transaction.set_rollback(True)


def _play(alice, adam, steps, ending: str, hold: int) -> None:
    run, at, total = make_running(alice, adam, hold=hold, spare=3000), 0.0, hold + 3000
    for index, (step, seconds) in enumerate(steps):
        if step == "live" and not run.is_final:
            at += seconds
            run = live(run, at)
        elif step == "grant":
            grant_points(by=adam, to=alice, mpoints=500, note="", key=f"more-{index}")
            total += 500
        elif step == "meter":
            meter_runs()
            meter_runs()
        cost, paid, held = get_cost_mpoints(run), get_run_cost(run.pk), get_run_hold(run.pk)
        assert 0 <= paid <= cost and held >= 0
        assert step != "meter" or cost - paid <= price_period(run) or paid == total
        assert get_balance(alice).total == total - paid
        assert get_balance(alice) == sum_entries(alice)
    if ending == "lost":
        silence(run, minutes=31)
        reap_runs()
    else:
        post(
            run,
            end(
                1,
                b"",
                ending,
                reason="bad_data" if ending == "failed" else "completed",
                time=T0 + at,
            ),
        )
    run.refresh_from_db()
    wanted = 0 if run.reason == "node_lost" else min(get_cost_mpoints(run), total)
    assert get_run_cost(run.pk) == wanted and get_run_hold(run.pk) == 0
    assert get_balance(alice).total == total - wanted


def silence(run: Run, **ago) -> None:
    Run.objects.filter(pk=run.pk).update(last_heartbeat_at=timezone.now() - timedelta(**ago))


def test_a_run_silent_for_ten_minutes_is_left_alone(alice, adam):
    run = make_running(alice, adam)
    silence(run, minutes=10)
    assert reap_runs() == 0


def test_a_run_silent_for_half_an_hour_is_lost_and_refunded(alice, adam):
    run = live(make_running(alice, adam, hold=1000), 60)
    meter_runs()
    silence(run, minutes=31)
    assert reap_runs() == 1
    run.refresh_from_db()
    assert (run.status, run.reason, run.log_complete) == ("failed", "node_lost", False)
    assert get_balance(alice).available_mpoints == 1000


def test_a_stop_that_nobody_answers_ends_after_half_a_minute(alice, adam):
    run = make_running(alice, adam)
    stop_job(by=alice, job=run.job)
    silence(run, seconds=20)
    assert reap_runs() == 0
    silence(run, seconds=31)
    assert reap_runs() == 1
    run.refresh_from_db()
    assert (run.status, run.reason) == ("stopped", "stopped_by_owner")


def test_a_launch_that_the_node_knows_nothing_of_fails_and_is_given_back(alice, adam):
    grant_points(by=adam, to=alice, mpoints=1000, note="", key="g")
    run = make_claimed_run(alice, claimed_at=timezone.now() - timedelta(seconds=121))
    hold_points(user=alice, mpoints=1000, run_id=run.pk, note="")
    assert reap_runs() == 1
    run.refresh_from_db()
    assert (run.status, run.reason) == ("failed", "launch_failed")
    assert get_balance(alice).available_mpoints == 1000


def test_a_launch_is_waited_for_while_its_node_has_it_or_is_away(alice, bob):
    node = make_node()
    old = {"claimed_at": timezone.now() - timedelta(minutes=5)}
    run = make_claimed_run(alice, node, **old)
    node.run_ids = [str(run.pk)]
    node.save()
    away = make_node("lab-2")
    make_claimed_run(bob, away, **old)
    away.last_seen_at = timezone.now() - timedelta(minutes=5)
    away.save()
    assert reap_runs() == 0


def test_a_run_that_its_node_never_takes_fails_after_as_many_orders_as_ten_minutes_hold(
    alice, adam
):
    grant_points(by=adam, to=alice, mpoints=1000, note="", key="g")
    run = make_job(owner=alice, node=make_node(), placement_number=1, num_orders=119).current_run
    hold_points(user=alice, mpoints=1000, run_id=run.pk, note="")
    assert reap_runs() == 0
    Run.objects.filter(pk=run.pk).update(num_orders=120, node=None)  # it waits: nobody is deaf now
    assert reap_runs() == 0
    Run.objects.filter(pk=run.pk).update(node=run.node)
    assert (reap_runs(), reap_runs()) == (1, 0)
    run.refresh_from_db()
    assert (run.status, run.reason) == ("failed", "launch_failed")
    assert "was sent the run for 10 minutes" in run.message
    assert get_balance(alice).available_mpoints == 1000


def test_a_run_that_no_node_had_room_for_in_a_week_fails(alice):
    week = timezone.now() - timedelta(days=7)
    late, fresh = (
        make_job(owner=alice, status_since=week + timedelta(minutes=by)).current_run
        for by in (-1, 1)
    )
    assert reap_runs() == 1
    late.refresh_from_db(), fresh.refresh_from_db()
    assert (late.status, late.reason, fresh.status) == ("failed", "no_node", "queued")
