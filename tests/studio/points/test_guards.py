"""What the database itself refuses, whatever code asks for it."""

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction

from studio.points.models import Entry, Kind, PointAccount, Reason, Transfer, Zero
from studio.points.selectors import get_balance
from studio.points.services import grant_points

pytestmark = pytest.mark.django_db


@pytest.fixture
def grant(alice, adam) -> Transfer:
    return grant_points(by=adam, to=alice, mpoints=1000, note="for a start", key="first")


def account_of(user, kind=Kind.AVAILABLE) -> PointAccount:
    return PointAccount.objects.get(user=user, kind=kind)


def make_transfer(user, key: str = "by hand") -> Transfer:
    return Transfer.objects.create(user=user, reason=Reason.GRANT, key=key)


@pytest.mark.parametrize("change", [{"amount": 5}, {"balance_after": 5}, {"amount": -1000}])
def test_an_entry_cannot_be_changed(grant, change):
    with pytest.raises(IntegrityError, match="never changed"):
        grant.entries.filter(amount__gt=0).update(**change)


def test_an_entry_cannot_be_deleted(grant):
    with pytest.raises(IntegrityError, match="never deleted"):
        grant.entries.all().delete()


@pytest.mark.parametrize(
    "change", [{"note": "other"}, {"key": "other"}, {"reason": "hold"}, {"imbalance": 7}]
)
def test_a_transfer_cannot_be_changed(grant, change):
    with pytest.raises(IntegrityError):
        Transfer.objects.filter(pk=grant.pk).update(**change)


def test_a_transfer_cannot_be_deleted(grant):
    with connection.cursor() as cursor, pytest.raises(IntegrityError, match="never deleted"):
        cursor.execute("DELETE FROM points_transfer WHERE id = %s", [grant.pk])


@pytest.mark.parametrize("balance", [0, 999, 1001, 10**9])
def test_a_balance_cannot_be_set(grant, alice, balance):
    with pytest.raises(IntegrityError, match="by entries alone"):
        PointAccount.objects.filter(pk=account_of(alice).pk).update(balance=balance)


def test_an_account_cannot_change_hands(grant, alice, bob):
    with pytest.raises(IntegrityError):
        PointAccount.objects.filter(pk=account_of(alice).pk).update(user=bob)


def test_an_account_cannot_begin_with_a_balance(carol):
    with pytest.raises(IntegrityError, match="begins empty"):
        PointAccount.objects.create(user=carol, kind=Kind.AVAILABLE, balance=5)


def test_an_entry_that_miscounts_is_refused(grant, alice):
    made = make_transfer(alice)
    with pytest.raises(IntegrityError, match="leaves behind"):
        Entry.objects.create(transfer=made, account=account_of(alice), amount=5, balance_after=1000)


def test_a_person_cannot_owe(grant, alice):
    made = make_transfer(alice)
    with pytest.raises(IntegrityError, match="point_account_not_below_zero"):
        Entry.objects.create(
            transfer=made, account=account_of(alice), amount=-1001, balance_after=-1
        )


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_transfer_that_does_not_sum_to_zero_cannot_commit(grant, alice):
    account = account_of(alice)
    with pytest.raises(IntegrityError), transaction.atomic():
        made = make_transfer(alice)
        Entry.objects.create(transfer=made, account=account, amount=5, balance_after=1005)
    assert get_balance(alice).available_mpoints == 1000
    assert not Transfer.objects.filter(key="by hand").exists()


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_flushed_ledger_is_guarded_again(grant, alice, adam):
    call_command("flush", interactive=False, verbosity=0)
    assert not Transfer.objects.exists()
    assert Zero.objects.get().pk == 0
    alice.save(force_insert=True)
    adam.save(force_insert=True)
    anew = grant_points(by=adam, to=alice, mpoints=10, note="", key="first")
    with pytest.raises(IntegrityError, match="never changed"):
        anew.entries.update(amount=7)
