"""Any order of moves keeps the ledger true: a machine tries many against a plain count."""

from uuid import UUID, uuid4

import pytest
from django.db.models import F, Sum
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from studio.points.models import Entry, Kind, PointAccount, Transfer
from studio.points.selectors import get_balance, get_run_costs, get_run_holds, list_transfers
from studio.points.services import (
    PointsExhausted,
    charge_run,
    grant_points,
    hold_points,
    refund_run,
    release_run,
)
from tests.factories import make_user

AMOUNTS = st.integers(min_value=1, max_value=5000)


class Ledger(RuleBasedStateMachine):
    """Two people and their runs; beside the ledger, a count of what each should have."""

    runs = Bundle("runs")

    @initialize()
    def begin(self) -> None:
        self.users = [make_user(f"p-{uuid4().hex[:12]}") for _ in range(2)]
        self.available = [0, 0]
        self.held: dict[UUID, int] = {}
        self.cost: dict[UUID, int] = {}
        self.refunded: set[UUID] = set()

    @rule(who=st.integers(0, 1), amount=AMOUNTS, times=st.integers(1, 2))
    def grant(self, who: int, amount: int, times: int) -> None:
        key = uuid4().hex
        for _ in range(times):
            grant_points(by=None, to=self.users[who], mpoints=amount, note="", key=key)
        self.available[who] += amount

    @rule(target=runs, who=st.integers(0, 1), amount=AMOUNTS, times=st.integers(1, 2))
    def hold(self, who: int, amount: int, times: int):
        run = uuid4()
        if amount > self.available[who]:
            with pytest.raises(PointsExhausted) as refusal:
                hold_points(user=self.users[who], mpoints=amount, run_id=run, note="")
            assert refusal.value.params["missing_mpoints"] == amount - self.available[who]
            return multiple()
        for _ in range(times):
            hold_points(user=self.users[who], mpoints=amount, run_id=run, note="")
        self.available[who] -= amount
        self.held[run], self.cost[run] = amount, 0
        return who, run

    @rule(run=runs, total=AMOUNTS)
    def charge(self, run: tuple[int, UUID], total: int) -> None:
        who, run_id = run
        missing = charge_run(user=self.users[who], run_id=run_id, total_mpoints=total)
        owed = 0 if run_id in self.refunded else max(0, total - self.cost[run_id])
        from_hold = min(owed, self.held[run_id])
        from_available = min(owed - from_hold, self.available[who])
        self.held[run_id] -= from_hold
        self.available[who] -= from_available
        self.cost[run_id] += from_hold + from_available
        assert missing == owed - from_hold - from_available

    @rule(run=runs)
    def release(self, run: tuple[int, UUID]) -> None:
        who, run_id = run
        release_run(user=self.users[who], run_id=run_id)
        self.available[who] += self.held[run_id]
        self.held[run_id] = 0

    @rule(run=runs)
    def refund(self, run: tuple[int, UUID]) -> None:
        who, run_id = run
        refund_run(user=self.users[who], run_id=run_id, note="platform fault")
        if self.cost[run_id]:
            self.refunded.add(run_id)
        self.available[who] += self.cost[run_id]
        self.cost[run_id] = 0

    @invariant()
    def the_count_agrees(self) -> None:
        if not hasattr(self, "users"):
            return
        for user, available in zip(self.users, self.available, strict=True):
            assert get_balance(user).available_mpoints == available
        held = sum(get_balance(user).held_mpoints for user in self.users)
        assert held == sum(self.held.values())
        holds, costs = get_run_holds(self.held), get_run_costs(self.held)
        assert {run_id: holds.get(run_id, 0) for run_id in self.held} == self.held
        assert {run_id: costs.get(run_id, 0) for run_id in self.held} == self.cost

    @invariant()
    def every_balance_is_the_sum_of_its_entries(self) -> None:
        check_ledger()

    def teardown(self) -> None:
        for user in getattr(self, "users", []):
            check_statement(user)


def check_ledger() -> None:
    """Add everything up anew."""
    added = PointAccount.objects.annotate(added=Sum("entries__amount", default=0))
    assert not added.exclude(balance=F("added")).exists()
    assert not Transfer.objects.annotate(sum=Sum("entries__amount")).exclude(sum=0).exists()
    assert (PointAccount.objects.aggregate(all=Sum("balance"))["all"] or 0) == 0
    owing = PointAccount.objects.filter(balance__lt=0).exclude(kind=Kind.ISSUANCE)
    assert not owing.exists()


def check_statement(user) -> None:
    """Each line leaves what the line before it left, and its own change."""
    available = held = 0
    for line in reversed(list(list_transfers(user))):
        available += line.available_change
        held += line.held_change
        assert (line.available_after, line.held_after) == (available, held)
    balance = get_balance(user)
    assert (balance.available_mpoints, balance.held_mpoints) == (available, held)


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_no_order_of_moves_breaks_the_ledger():
    few = settings(max_examples=12, stateful_step_count=20, deadline=None)
    run_state_machine_as_test(Ledger, settings=few)
    assert Entry.objects.count() > 50
