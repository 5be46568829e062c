"""What the ledger says. A run's hold and cost are sums over its own transfers."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from studio.accounts.models import User
from studio.points.models import Entry, Kind, PointAccount, Transfer


@dataclass(frozen=True)
class Balance:
    """What a person has, in milli-points."""

    available_mpoints: int = 0
    held_mpoints: int = 0

    @property
    def total(self) -> int:
        """Return both together."""
        return self.available_mpoints + self.held_mpoints


@dataclass(frozen=True)
class Use:
    """What a person's runs or machines cost now."""

    rate_mpoints_per_hour: int = 0
    unwritten_mpoints: int = 0
    """Used, and still on the held account."""

    def __add__(self, other: "Use") -> "Use":
        """Return both together."""
        return Use(
            self.rate_mpoints_per_hour + other.rate_mpoints_per_hour,
            self.unwritten_mpoints + other.unwritten_mpoints,
        )


@dataclass(frozen=True)
class RunSum:
    """All the moves of one run together."""

    begun_at: datetime
    num_moves: int
    available_change: int
    held_change: int


def get_balance(user: User) -> Balance:
    """Return what a person has."""
    return get_balances([user.pk]).get(user.pk, Balance())


def get_balances(user_ids: Iterable[int]) -> dict[int, Balance]:
    """Return what people have, by user id; who never had points is not in it."""
    rows = PointAccount.objects.filter(user_id__in=list(user_ids))
    found: dict[int, dict[str, int]] = {}
    for user_id, kind, balance in rows.values_list("user_id", "kind", "balance"):
        if user_id is not None:
            found.setdefault(user_id, {})[f"{kind}_mpoints"] = balance
    return {user_id: Balance(**parts) for user_id, parts in found.items()}


def get_run_cost(run_id: UUID) -> int:
    """Return what a run was charged, less what was refunded."""
    return get_run_costs([run_id]).get(run_id, 0)


def get_run_costs(run_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Return what runs were charged, less what was refunded; a run without any is not in it."""
    return _sum_by_run(run_ids, Kind.REVENUE)


def get_run_hold(run_id: UUID) -> int:
    """Return what is still set aside for a run."""
    return get_run_holds([run_id]).get(run_id, 0)


def get_run_holds(run_ids: Iterable[UUID]) -> dict[UUID, int]:
    """Return what is still set aside for runs; a run that never had any is not in it."""
    return _sum_by_run(run_ids, Kind.HELD)


def _sum_by_run(run_ids: Iterable[UUID], kind: Kind) -> dict[UUID, int]:
    entries = Entry.objects.filter(transfer__run_id__in=list(run_ids), account__kind=kind)
    sums = entries.values_list("transfer__run_id").annotate(total=Sum("amount")).order_by()
    return {run_id: total for run_id, total in sums if run_id is not None}


def list_transfers(user: User) -> QuerySet[Transfer]:
    """Return what moved a person's points, newest first, with what each changed and left."""
    return (
        Transfer.objects.filter(user=user)
        .select_related("by")
        .annotate(
            available_change=_sum_of(Kind.AVAILABLE),
            held_change=_sum_of(Kind.HELD),
            available_after=_left_by(user, Kind.AVAILABLE),
            held_after=_left_by(user, Kind.HELD),
        )
        .order_by("-id")
    )


def list_last_transfers(user: User) -> QuerySet[Transfer]:
    """Return what `list_transfers` does, but of each run only the last: one line for all of it."""
    later = Transfer.objects.filter(run_id=OuterRef("run_id"), pk__gt=OuterRef("pk"))
    return list_transfers(user).filter(~Exists(later))


def sum_runs(run_ids: Iterable[UUID]) -> dict[UUID, RunSum]:
    """Return what all the moves of runs did to their owners' accounts, by run id."""
    ids = list(run_ids)
    available, held = _sum_by_run(ids, Kind.AVAILABLE), _sum_by_run(ids, Kind.HELD)
    moves = Transfer.objects.filter(run_id__in=ids).values_list("run_id").order_by()
    return {
        run_id: RunSum(begun_at, number, available.get(run_id, 0), held.get(run_id, 0))
        for run_id, begun_at, number in moves.annotate(Min("created_at"), Count("pk"))
        if run_id is not None
    }


def sum_entries(user: User) -> Balance:
    """Return a person's balance added up anew from every entry."""
    entries = Entry.objects.filter(account__user=user)
    sums = dict(entries.values_list("account__kind").annotate(total=Sum("amount")).order_by())
    return Balance(sums.get(Kind.AVAILABLE, 0), sums.get(Kind.HELD, 0))


def _sum_of(kind: Kind) -> Coalesce:
    return Coalesce(Sum("entries__amount", filter=Q(entries__account__kind=kind)), 0)


def _left_by(user: User, kind: Kind) -> Coalesce:
    earlier = Entry.objects.filter(
        account__user=user, account__kind=kind, transfer_id__lte=OuterRef("pk")
    )
    return Coalesce(Subquery(earlier.order_by("-id").values("balance_after")[:1]), 0)
