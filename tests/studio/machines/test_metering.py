"""What running costs, whatever becomes of reports and clocks: never twice, never below zero."""

from datetime import timedelta
from unittest import mock

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from studio.machines.charging import (
    MOST_GAP_S,
    charge_leases,
    get_cost_mpoints,
    list_machine_uses,
)
from studio.machines.models import Lease, Machine, Status
from studio.machines.services import (
    delete_machine,
    end_due,
    end_unpaid,
    extend_machine,
    stop_machine,
)
from studio.points.models import Transfer
from studio.points.selectors import get_balance, get_run_cost, get_run_hold, sum_entries
from studio.points.services import WRITTEN_EVERY_S
from tests.studio.machines.conftest import make_running, tell
from workers.machines.orders import MachinePhase

pytestmark = pytest.mark.django_db
TICK_S = 10
STEPS = st.tuples(
    st.sampled_from(["report", "again", "late", "charge", "skew", "extend"]), st.floats(0.0, 40.0)
)


class Meter:
    """A machine whose node reports, on a clock that is ours; and what it ought to cost."""

    def __init__(self, owner, node, clock) -> None:
        self.node, self.clock, self.passed_s = node, clock, 0.0
        self.machine = make_running(owner, node)
        self.lease = Lease.objects.get()

    def report(self, seconds: float, **facts) -> None:
        self.clock[0] += timedelta(seconds=seconds)
        self.passed_s += seconds
        self.machine = tell(self.machine, self.node, MachinePhase.RUNNING, **facts)

    def do(self, step: str, seconds: float) -> None:
        if step == "report":
            self.report(seconds)
        elif step == "again":
            for _ in range(3):
                self.report(0)
        elif step == "late":
            self.report(0, start=max(0, self.machine.start - 1))
        elif step == "skew":
            self.clock[0] += timedelta(seconds=seconds - 20)  # it is set, forward or back
        elif step == "extend":
            extend_machine(by=self.machine.owner, machine=self.machine, duration_s=900)
            assert get_run_cost(self.lease.pk) == get_cost_mpoints(Lease.objects.get())
        else:
            charge_leases()
            lease = Lease.objects.get()
            assert lease.used_s - lease.charged_s < WRITTEN_EVERY_S
        self.check()

    def check(self) -> None:
        before = self.lease
        self.lease = Lease.objects.get()
        assert self.lease.used_s >= before.used_s
        held, paid = get_run_hold(self.lease.pk), get_run_cost(self.lease.pk)
        assert held >= 0
        cost = get_cost_mpoints(self.lease)
        assert paid <= cost <= held + paid
        assert list_machine_uses([self.machine.owner_id])[
            self.machine.owner_id
        ].unwritten_mpoints == (cost - paid)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEPS, max_size=30))
@example(steps=[("report", 5.0)] * 20 + [("charge", 0.0)] * 3 + [("again", 0.0)])
@example(steps=[("report", 9.0)] * 70 + [("charge", 0.0)] * 2 + [("extend", 0.0)])
@example(steps=[("skew", 40.0), ("report", 1.0), ("skew", 0.0), ("report", 1.0), ("report", 30.0)])
def test_no_order_of_reports_charges_and_clocks_charges_twice(rich, node, steps):
    with transaction.atomic():
        _meter(rich, node, steps)
        transaction.set_rollback(True)


def _meter(rich, node, steps) -> None:
    clock = [REAL_NOW()]
    with mock.patch("django.utils.timezone.now", lambda: clock[0]):
        meter = Meter(rich, node, clock)
        for step in steps:
            meter.do(*step)
        charge_leases()
        charge_leases()
        lease = Lease.objects.get()
        delete_machine(by=rich, machine=Machine.objects.get())
    num_skews = sum(step[0] == "skew" for step in steps)
    # Each setting of the clock may be taken for a silence, of which ten seconds count.
    assert lease.used_s <= meter.passed_s + num_skews * MOST_GAP_S + 1e-3
    assert get_run_cost(lease.pk) == get_cost_mpoints(lease)
    assert get_balance(rich).total == 1_000_000 - get_cost_mpoints(lease)
    assert get_balance(rich) == sum_entries(rich)


REAL_NOW = timezone.now


def test_time_is_counted_to_the_tick(rich, node):
    with mock.patch("django.utils.timezone.now") as now:
        now.return_value = at = REAL_NOW()
        machine = make_running(rich, node)
        for second in range(1, 101):
            now.return_value = at + timedelta(seconds=second)
            tell(machine, node, MachinePhase.RUNNING)
        assert 100 - TICK_S <= Lease.objects.get().used_s <= 100


def test_points_never_go_below_zero_and_the_machine_ends_with_them(rich, node):
    with mock.patch("django.utils.timezone.now") as now:
        now.return_value = at = REAL_NOW()
        machine = make_running(rich, node, hours=0.5)
        granted_s = Lease.objects.get().granted_s
        for tick in range(granted_s // 8 + 10):
            now.return_value = at + timedelta(seconds=8 * tick)
            machine = tell(machine, node, MachinePhase.RUNNING)
            if tick % 10 == 0:
                end_unpaid(charge_leases())
                assert get_balance(rich).available_mpoints >= 0
        end_due()
        machine.refresh_from_db()
        assert machine.status == Status.STOPPING
        tell(machine, node, MachinePhase.STOPPED)
    lease = Lease.objects.get()
    assert get_cost_mpoints(lease) == granted_s * lease.rate_mpoints_per_hour // 3600
    assert get_balance(rich).total == 1_000_000 - get_cost_mpoints(lease)


def test_half_an_hour_is_a_few_moves_in_the_ledger_and_is_shown_to_the_second(api, rich, node):
    with mock.patch("django.utils.timezone.now") as now:
        now.return_value = at = REAL_NOW()
        machine = make_running(rich, node, hours=2)
        for tick in range(1, 181):
            now.return_value = at + timedelta(seconds=10 * tick)
            tell(machine, node, MachinePhase.RUNNING)
            assert charge_leases() == []
            if tick in {30, 59, 61}:
                shown = api(rich).get("/api/points/").json()
                cost = get_cost_mpoints(Lease.objects.get())
                assert cost == 10 * tick * 30_000 // 3600
                assert shown["total_mpoints"] == 1_000_000 - cost
                assert shown["held_mpoints"] == 60_000 - cost
                assert shown["burn_mpoints_per_hour"] == 30_000
                (told,) = api(rich).get("/api/machines/").json()
                assert told["lease"]["held_mpoints"] == 60_000 - cost
    lease = Lease.objects.get()
    assert Transfer.objects.filter(run_id=lease.pk, reason="charge").count() == 3
    assert get_run_cost(lease.pk) == 15_000


def test_what_was_used_is_written_when_a_machine_is_told_to_stop(rich, node):
    with mock.patch("django.utils.timezone.now") as now:
        now.return_value = at = REAL_NOW()
        machine = make_running(rich, node)
        for tick in range(1, 7):
            now.return_value = at + timedelta(seconds=5 * tick)
            tell(machine, node, MachinePhase.RUNNING)
        assert get_run_cost(machine.lease_id) == 0
        stop_machine(by=rich, machine=machine)
        assert get_run_cost(machine.lease_id) == 30 * 30_000 // 3600


def test_a_charge_that_is_cut_off_is_made_whole_by_the_next(rich, node):
    with mock.patch("django.utils.timezone.now") as now:
        now.return_value = at = REAL_NOW()
        machine = make_running(rich, node)
        for tick in range(1, 71):
            now.return_value = at + timedelta(seconds=10 * tick)
            tell(machine, node, MachinePhase.RUNNING)
    with (
        mock.patch.object(Lease, "save", side_effect=InterruptedError),
        pytest.raises(InterruptedError),
    ):
        charge_leases()
    lease = Lease.objects.get()
    assert (get_run_cost(lease.pk), lease.charged_s) == (0, 0)
    charge_leases()
    assert get_run_cost(lease.pk) == get_cost_mpoints(lease) == 700 * 30_000 // 3600
    assert Lease.objects.get().charged_s == 700
