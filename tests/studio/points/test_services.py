"""Grants, holds, charges and what is given back, one by one and all at once."""

import threading
from collections.abc import Callable
from uuid import uuid4

import pytest
from django.db import connection

from studio.core.errors import BadInput, Conflict, Forbidden
from studio.points.models import PointAccount, Transfer
from studio.points.selectors import get_balance, get_run_cost, get_run_hold
from studio.points.services import (
    MOST_MPOINTS,
    PointsExhausted,
    charge_run,
    grant_points,
    hold_points,
    refund_run,
    release_run,
)
from tests.factories import make_user
from tests.studio.points.test_ledger import check_ledger

pytestmark = pytest.mark.django_db


def give(user, mpoints: int) -> None:
    grant_points(by=None, to=user, mpoints=mpoints, note="", key=uuid4().hex)


def make_hold(user, mpoints: int):
    run_id = uuid4()
    hold_points(user=user, mpoints=mpoints, run_id=run_id, note="")
    return run_id


def test_new_people_have_nothing(alice):
    assert get_balance(alice).total == 0


def test_members_cannot_grant(alice, bob):
    with pytest.raises(Forbidden):
        grant_points(by=alice, to=alice, mpoints=5, note="", key="k")


@pytest.mark.parametrize("mpoints", [0, -5, MOST_MPOINTS + 1])
def test_a_grant_of_nothing_or_of_the_moon_is_refused(alice, olga, mpoints):
    with pytest.raises(BadInput) as refusal:
        grant_points(by=olga, to=alice, mpoints=mpoints, note="", key="k")
    assert refusal.value.field == "mpoints"


def test_the_same_key_grants_once(alice, olga):
    first = grant_points(by=olga, to=alice, mpoints=5, note="a", key="k")
    assert grant_points(by=olga, to=alice, mpoints=5, note="a", key="k") == first
    assert get_balance(alice).available_mpoints == 5


@pytest.mark.parametrize("other", [{"mpoints": 6}, {"note": "b"}])
def test_the_same_key_for_another_grant_is_refused(alice, olga, other):
    wish = {"mpoints": 5, "note": "a"}
    grant_points(by=olga, to=alice, key="k", **wish)
    with pytest.raises(Conflict) as refusal:
        grant_points(by=olga, to=alice, key="k", **(wish | other))
    assert refusal.value.code == "idempotency_conflict"


def test_two_operators_may_pick_the_same_key(alice, olga, adam):
    for by in (olga, adam):
        grant_points(by=by, to=alice, mpoints=5, note="", key="k")
    assert get_balance(alice).available_mpoints == 10


def test_the_refusal_says_how_many_are_missing(alice):
    give(alice, 300)
    with pytest.raises(PointsExhausted) as refusal:
        make_hold(alice, 1200)
    assert refusal.value.params == {
        "needed_mpoints": 1200,
        "available_mpoints": 300,
        "missing_mpoints": 900,
    }
    assert "1.2" in refusal.value.message
    assert "0.9 are missing" in refusal.value.message


def test_a_charge_makes_one_line_even_when_it_takes_more_than_the_hold(alice):
    give(alice, 1000)
    run_id = make_hold(alice, 400)
    assert charge_run(user=alice, run_id=run_id, total_mpoints=700) == 0
    charges = Transfer.objects.filter(run_id=run_id, reason="charge")
    assert charges.count() == 1
    assert (get_balance(alice).available_mpoints, get_balance(alice).held_mpoints) == (300, 0)


def test_a_charge_tells_what_nobody_could_pay_and_takes_it_later(alice):
    give(alice, 500)
    run_id = make_hold(alice, 500)
    assert charge_run(user=alice, run_id=run_id, total_mpoints=620) == 120
    assert get_run_cost(run_id) == 500
    give(alice, 1000)
    assert charge_run(user=alice, run_id=run_id, total_mpoints=620) == 0
    assert get_run_cost(run_id) == 620


def test_one_run_does_not_spend_the_hold_of_another(alice):
    give(alice, 1000)
    first, second = make_hold(alice, 400), make_hold(alice, 600)
    assert charge_run(user=alice, run_id=first, total_mpoints=900) == 500
    assert get_run_hold(second) == 600


def test_a_refunded_run_is_never_charged_again(alice):
    give(alice, 1000)
    run_id = make_hold(alice, 1000)
    charge_run(user=alice, run_id=run_id, total_mpoints=300)
    refund_run(user=alice, run_id=run_id, note="node lost")
    assert charge_run(user=alice, run_id=run_id, total_mpoints=900) == 0
    release_run(user=alice, run_id=run_id)
    assert get_balance(alice).available_mpoints == 1000


def at_once(count: int, work: Callable[[int], object]) -> list[object]:
    """Do the work in so many threads, let go together; return what came of each."""
    outcomes: list[object] = [None] * count
    gate = threading.Barrier(count)

    def attempt(index: int) -> None:
        gate.wait()
        try:
            outcomes[index] = work(index)
        except PointsExhausted as refusal:
            outcomes[index] = refusal
        finally:
            connection.close()

    threads = [threading.Thread(target=attempt, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_fifty_holds_with_points_for_one_make_one():
    alice = make_user("alice")
    give(alice, 1000)
    outcomes = at_once(50, lambda _: make_hold(alice, 1000))
    assert sum(isinstance(outcome, PointsExhausted) for outcome in outcomes) == 49
    assert get_balance(alice).held_mpoints == 1000
    check_ledger()


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_charges_of_many_people_at_once_all_count():
    people = [make_user(f"person-{index}") for index in range(6)]
    for person in people:
        give(person, 1000)
    runs = [make_hold(person, 500) for person in people]

    def charge(index: int) -> object:
        which = index % len(people)
        return charge_run(user=people[which], run_id=runs[which], total_mpoints=100 + index)

    assert at_once(24, charge) == [0] * 24
    assert [get_run_cost(run_id) for run_id in runs] == [118 + which for which in range(6)]
    check_ledger()


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_the_first_points_of_a_person_may_come_twice_at_once():
    alice = make_user("alice")
    at_once(8, lambda index: give(alice, 10 + index))
    assert get_balance(alice).available_mpoints == sum(10 + index for index in range(8))
    assert PointAccount.objects.filter(user=alice).count() == 2
    check_ledger()
