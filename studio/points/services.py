"""How points move: grants in, holds at launch, charges as time runs, the rest back.

Every move locks the accounts it touches (the person's before the platform's), and is named by a
key, so that asking twice moves once. A run's hold is what its transfers left on the held account.
"""

from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from studio.accounts.models import Role, User
from studio.core import audit
from studio.core.errors import BadInput, Conflict, Forbidden, StudioError
from studio.jobs.wakes import wake_user
from studio.points.models import Entry, Kind, PointAccount, Reason, Transfer
from studio.points.selectors import get_run_cost, get_run_hold

MOST_MPOINTS = 10**15
"""Largest grant; far from what a column holds, whatever is added up."""

WRITTEN_EVERY_S = 600.0
"""How much used time may be without its charge in the ledger: 1000 machines write two a second."""


class PointsExhausted(StudioError):
    """The person has fewer points than the launch needs."""

    code = "points_exhausted"
    status = 409

    def __init__(self, *, needed: int, available: int) -> None:
        """Say how many are missing."""
        missing = needed - available
        super().__init__(
            f"This needs {_say(needed)} points and you have {_say(available)}: {_say(missing)} are"
            " missing. Ask an operator for a grant, or pick a smaller flavor or a shorter run.",
            needed_mpoints=needed,
            available_mpoints=available,
            missing_mpoints=missing,
        )


@dataclass(frozen=True)
class _Move:
    """What a transfer is, but for its entries."""

    user: User
    reason: Reason
    key: str
    note: str = ""
    by: User | None = None
    run_id: UUID | None = None


@transaction.atomic
def grant_points(*, by: User | None, to: User, mpoints: int, note: str, key: str) -> Transfer:
    """Give a person points, once per key of the giver. `by` None is the platform.

    Raises:
        Forbidden: the giver is no operator.
        BadInput: the amount is not from 1 to `MOST_MPOINTS`.
        Conflict: the key stands for another grant.
    """
    if by is not None and not by.has_role(Role.OPERATOR):
        raise Forbidden("Only operators grant points.")
    if not 0 < mpoints <= MOST_MPOINTS:
        raise BadInput(
            f"mpoints: write a whole number from 1 to {MOST_MPOINTS}.",
            field="mpoints",
            code="bad_amount",
            most=MOST_MPOINTS,
        )
    accounts = _lock_accounts(to, Kind.ISSUANCE)
    full_key = f"grant:{by.pk if by else 'platform'}:{key}"
    if made := Transfer.objects.filter(key=full_key).first():
        return _check_same_grant(made, to=to, mpoints=mpoints, note=note)
    move = _Move(user=to, reason=Reason.GRANT, key=full_key, note=note, by=by)
    made = _transfer(move, accounts, {Kind.ISSUANCE: -mpoints, Kind.AVAILABLE: mpoints})
    audit.record("points.granted", actor=by, subject=to.username, mpoints=mpoints, note=note)
    wake_user(to.pk, "points")
    return made


@transaction.atomic
def hold_points(*, user: User, mpoints: int, run_id: UUID, note: str, part: int = 1) -> None:
    """Set points aside for a run, once for each part; nothing for a run that costs nothing.

    Raises:
        PointsExhausted: fewer are available.
    """
    if mpoints < 0:
        raise ValueError(f"cannot hold {mpoints} milli-points")
    accounts = _lock_accounts(user)
    key = f"hold:{run_id}" if part == 1 else f"hold:{run_id}:{part}"
    if mpoints == 0 or Transfer.objects.filter(key=key).exists():
        return
    available = accounts[Kind.AVAILABLE].balance
    if available < mpoints:
        raise PointsExhausted(needed=mpoints, available=available)
    move = _Move(user=user, reason=Reason.HOLD, key=key, note=note, run_id=run_id)
    _transfer(move, accounts, {Kind.AVAILABLE: -mpoints, Kind.HELD: mpoints})
    wake_user(user.pk, "points")


@transaction.atomic
def hold_ahead(*, user: User, most_mpoints: int, run_id: UUID, note: str) -> None:
    """Set more points aside for a run that goes on: as many as there are, up to `most_mpoints`.

    The caller holds the run's lock, so that it is done once for what the run has cost until now.
    """
    accounts = _lock_accounts(user)
    mpoints = min(most_mpoints, accounts[Kind.AVAILABLE].balance)
    key = f"hold:{run_id}:at:{get_run_cost(run_id)}"
    if mpoints <= 0 or Transfer.objects.filter(key=key).exists():
        return
    move = _Move(user=user, reason=Reason.HOLD, key=key, note=note, run_id=run_id)
    _transfer(move, accounts, {Kind.AVAILABLE: -mpoints, Kind.HELD: mpoints})
    wake_user(user.pk, "points")


@transaction.atomic
def charge_run(*, user: User, run_id: UUID, total_mpoints: int, note: str = "") -> int:
    """Bring what a run is charged up to a total; return how much of it nobody could pay.

    Paid from the run's hold, and where that falls short from what is available. A total that is
    reached already, and a run that was refunded, change nothing.
    """
    accounts = _lock_accounts(user, Kind.REVENUE)
    owed = total_mpoints - get_run_cost(run_id)
    if owed <= 0 or Transfer.objects.filter(key=_refund_key(run_id)).exists():
        return 0
    from_hold = min(owed, get_run_hold(run_id))
    from_available = min(owed - from_hold, accounts[Kind.AVAILABLE].balance)
    paid = from_hold + from_available
    if paid:
        key = f"charge:{run_id}:{total_mpoints - owed + paid}"
        move = _Move(user=user, reason=Reason.CHARGE, key=key, note=note, run_id=run_id)
        amounts = {Kind.HELD: -from_hold, Kind.AVAILABLE: -from_available, Kind.REVENUE: paid}
        _transfer(move, accounts, amounts)
    return owed - paid


@transaction.atomic
def release_run(*, user: User, run_id: UUID, note: str = "") -> None:
    """Give back what is left of a run's hold; again changes nothing."""
    accounts = _lock_accounts(user)
    rest = get_run_hold(run_id)
    if rest == 0:
        return
    key = f"release:{run_id}"
    move = _Move(user=user, reason=Reason.RELEASE, key=key, note=note, run_id=run_id)
    _transfer(move, accounts, {Kind.HELD: -rest, Kind.AVAILABLE: rest})
    wake_user(user.pk, "points")


@transaction.atomic
def refund_run(*, user: User, run_id: UUID, note: str) -> None:
    """Give back all that a run was charged, once and for good: it is never charged again."""
    accounts = _lock_accounts(user, Kind.REVENUE)
    charged = get_run_cost(run_id)
    if charged == 0:
        return
    move = _Move(user=user, reason=Reason.REFUND, key=_refund_key(run_id), note=note, run_id=run_id)
    _transfer(move, accounts, {Kind.REVENUE: -charged, Kind.AVAILABLE: charged})
    audit.record("points.refunded", actor=None, subject=user.username, mpoints=charged)
    wake_user(user.pk, "points")


def _say(mpoints: int) -> str:
    return f"{mpoints / 1000:.3f}".rstrip("0").rstrip(".")


def _refund_key(run_id: UUID) -> str:
    return f"refund:{run_id}"


def _check_same_grant(made: Transfer, *, to: User, mpoints: int, note: str) -> Transfer:
    amount = made.entries.get(account__kind=Kind.AVAILABLE).amount
    if (made.user_id, amount, made.note) != (to.pk, mpoints, note):
        raise Conflict(
            "This Idempotency-Key stands for another grant: send a fresh one.",
            code="idempotency_conflict",
        )
    return made


def _lock_accounts(user: User, *platform_kinds: Kind) -> dict[Kind, PointAccount]:
    """Return the person's two accounts and the platform's named ones, locked in one order."""
    wanted: list[tuple[User | None, Kind]] = [(user, Kind.AVAILABLE), (user, Kind.HELD)]
    wanted += [(None, kind) for kind in platform_kinds]
    return {kind: _lock_account(owner, kind) for owner, kind in wanted}


def _lock_account(user: User | None, kind: Kind) -> PointAccount:
    locked = PointAccount.objects.select_for_update()
    if account := locked.filter(user=user, kind=kind).first():
        return account
    PointAccount.objects.get_or_create(user=user, kind=kind)
    return locked.get(user=user, kind=kind)


def _transfer(
    move: _Move, accounts: dict[Kind, PointAccount], amounts: dict[Kind, int]
) -> Transfer:
    made = Transfer(
        user=move.user,
        reason=move.reason,
        key=move.key,
        note=move.note,
        by=move.by,
        run_id=move.run_id,
    )
    made.full_clean(validate_unique=False, validate_constraints=False, exclude=["imbalance"])
    made.save(force_insert=True)
    for kind, amount in amounts.items():
        if amount:
            account = accounts[kind]
            account.balance += amount
            Entry.objects.create(
                transfer=made, account=account, amount=amount, balance_after=account.balance
            )
    return made
