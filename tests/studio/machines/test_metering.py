"""What running costs, whatever becomes of reports and clocks: never twice, never below zero."""

from datetime import timedelta
from unittest import mock

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from studio.machines.charging import MOST_GAP_S, charge_leases, get_cost_mpoints
from studio.machines.models import Lease, Status
from studio.machines.services import end_due, end_unpaid
from studio.points.selectors import get_balance, get_run_cost, get_run_hold
from tests.studio.machines.conftest import make_running, tell
from workers.machines.orders import MachinePhase

pytestmark = pytest.mark.django_db
TICK_S = 10
STEPS = st.tuples(
    st.sampled_from(["report", "again", "late", "charge", "skew"]), st.floats(0.0, 40.0)
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
        else:
            charge_leases()
        self.check()

    def check(self) -> None:
        before = self.lease
        self.lease = Lease.objects.get()
        assert self.lease.used_s >= before.used_s
        held, paid = get_run_hold(self.lease.pk), get_run_cost(self.lease.pk)
        assert held >= 0
        assert paid <= get_cost_mpoints(self.lease) <= held + paid


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=st.lists(STEPS, max_size=30))
@example(steps=[("report", 5.0)] * 20 + [("charge", 0.0)] * 3 + [("again", 0.0)])
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
    num_skews = sum(step[0] == "skew" for step in steps)
    # Each setting of the clock may be taken for a silence, of which ten seconds count.
    assert lease.used_s <= meter.passed_s + num_skews * MOST_GAP_S + 1e-3
    assert get_run_cost(lease.pk) == get_cost_mpoints(lease)
    assert get_balance(rich).total == 1_000_000 - get_cost_mpoints(lease)


REAL_NOW = timezone.now


def test_time_is_counted_to_the_tick(rich, node):
    with mock.patch("django.utils.timezone.now") as now:
        now.return_value = at = REAL_NOW()
        machine = make_running(rich, node)
        for second in range(1, 301):
            now.return_value = at + timedelta(seconds=second)
            tell(machine, node, MachinePhase.RUNNING)
        assert 300 - TICK_S <= Lease.objects.get().used_s <= 300


def test_points_never_go_below_zero_and_the_machine_ends_with_them(rich, node):
    with mock.patch("django.utils.timezone.now") as now:
        now.return_value = at = REAL_NOW()
        machine = make_running(rich, node)
        granted_s = Lease.objects.get().granted_s
        for tick in range(granted_s // 8 + 10):
            now.return_value = at + timedelta(seconds=8 * tick)
            machine = tell(machine, node, MachinePhase.RUNNING)
            if tick % 20 == 0:
                end_unpaid(charge_leases())
                assert get_balance(rich).available_mpoints >= 0
        end_due()
        machine.refresh_from_db()
        assert machine.status == Status.STOPPING
        tell(machine, node, MachinePhase.STOPPED)
    lease = Lease.objects.get()
    assert get_cost_mpoints(lease) == granted_s * lease.rate_mpoints_per_hour // 3600
    assert get_balance(rich).total == 1_000_000 - get_cost_mpoints(lease)
