"""What asking models costs: each request's share of its server's time, at the server's rate.

Each use is written as it ends, in thousandths of milli-points. The ledger is charged the whole
milli-points of a person's month when some have gathered (decision 055).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

from django.db import transaction
from django.db.models import Avg, Count, F, Sum
from django.db.models.functions import TruncDate
from django.utils import timezone

from studio.accounts.models import User
from studio.core.sentences import say
from studio.points.selectors import get_balance, get_run_cost
from studio.points.services import charge_run
from studio.serving.keys import BudgetExhausted
from studio.serving.models import ApiKey, Deployment, Use, UsePeriod, UseState

UPOINTS = 1000  # of a milli-point
_MS_PER_HOUR = 3_600_000
_LATEST = 50  # uses that say what a token of a deployment takes


@dataclass(frozen=True)
class Asked:
    """Who asked which server what."""

    user: User
    model: str
    deployment_id: UUID
    api_key: ApiKey | None = None
    request_key: UUID = field(default_factory=uuid4)
    """Names the request, so that its use is on record once however often it is written."""


@dataclass(frozen=True)
class Measured:
    """What a server did for a request. Times are its share of the server's, in ms; None is not
    known, as where the reader left before the server said so."""

    state: UseState = UseState.COMPLETE
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0
    num_tokens: int = 0
    queue_ms: int = 0
    prefill_ms: int | None = None
    decode_ms: int | None = None


def get_rate(deployment_id: UUID) -> int:
    """Return milli-points an hour of a deployment's server."""
    found = Deployment.objects.filter(pk=deployment_id)
    rate = found.values_list("job__current_run__rate_mpoints_per_hour", flat=True).first()
    return int(rate or 0)


def check_can_pay(user: User, deployment_id: UUID) -> None:
    """Refuse a request that nothing is left for.

    Raises:
        BudgetExhausted: the server costs something, and all that its person has is used.
    """
    if get_rate(deployment_id) == 0:
        return
    left = get_balance(user).available_mpoints - _count_unwritten([user.pk]).get(user.pk, 0)
    if left <= 0:
        raise BudgetExhausted(
            "Your points are used up: ask an operator for a grant.", code="points_used_up"
        )


@transaction.atomic
def record_use(*, asked: Asked, measured: Measured, at: datetime | None = None) -> Use:
    """Write a use down and add what it cost to its person's month and to its key.

    `at` None is now. A request whose use is on record already changes nothing.
    """
    if known := Use.objects.filter(request_key=asked.request_key).first():
        return known
    times = _fill_times(asked.deployment_id, measured)
    cost = (sum(times) * get_rate(asked.deployment_id) * UPOINTS + _MS_PER_HOUR - 1) // _MS_PER_HOUR
    key = ApiKey.objects.filter(pk=asked.api_key.pk).first() if asked.api_key else None
    use = Use.objects.create(
        user=asked.user,
        api_key=key,
        deployment=Deployment.objects.filter(pk=asked.deployment_id).first(),
        model=asked.model[:300],
        state=measured.state,
        num_prompt_tokens=measured.num_prompt_tokens,
        num_cached_tokens=measured.num_cached_tokens,
        num_tokens=measured.num_tokens,
        queue_ms=measured.queue_ms,
        prefill_ms=times[0],
        decode_ms=times[1],
        cost_upoints=cost,
        created_at=at or timezone.now(),
        request_key=asked.request_key,
    )
    if cost:
        month = use.created_at.astimezone(UTC).date().replace(day=1)
        period, _ = UsePeriod.objects.get_or_create(user=asked.user, month=month)
        UsePeriod.objects.filter(pk=period.pk).update(total_upoints=F("total_upoints") + cost)
        if key is not None:
            ApiKey.objects.filter(pk=key.pk).update(spent_upoints=F("spent_upoints") + cost)
    return use


def settle_uses() -> int:
    """Charge every month that owes a whole milli-point; return how many were."""
    owing = UsePeriod.objects.filter(total_upoints__gte=(F("charged_mpoints") + 1) * UPOINTS)
    ids = list(owing.values_list("pk", flat=True))
    for period_id in ids:
        _settle(period_id)
    return len(ids)


@dataclass(frozen=True)
class DayUse:
    """A day's uses of one model."""

    day: date
    model: str
    num_requests: int
    num_prompt_tokens: int
    num_cached_tokens: int
    num_tokens: int
    cost_upoints: int


def list_days(viewer: User, *, since: datetime, key_id: int | None = None) -> list[DayUse]:
    """Return a person's own uses since a time by UTC day and model, the newest day first."""
    uses = Use.objects.filter(user=viewer, created_at__gte=since)
    if key_id is not None:
        uses = uses.filter(api_key_id=key_id)
    rows = (
        uses.annotate(day=TruncDate("created_at", tzinfo=UTC))
        .values("day", "model")
        .annotate(
            requests=Count("pk"),
            prompt=Sum("num_prompt_tokens"),
            cached=Sum("num_cached_tokens"),
            made=Sum("num_tokens"),
            cost=Sum("cost_upoints"),
        )
        .order_by("-day", "model")
    )
    return [
        DayUse(
            row["day"],
            row["model"],
            row["requests"],
            row["prompt"],
            row["cached"],
            row["made"],
            row["cost"],
        )
        for row in rows
    ]


@transaction.atomic
def _settle(period_id: UUID) -> None:
    period = UsePeriod.objects.select_for_update().select_related("user").get(pk=period_id)
    total = period.total_upoints // UPOINTS
    # What could not be paid before is not asked for again: only what is new is added.
    owed = get_run_cost(period.pk) + total - period.charged_mpoints
    charge_run(user=period.user, run_id=period.pk, total_mpoints=owed, note=say("model_use"))
    period.charged_mpoints = total
    period.save(update_fields=["charged_mpoints"])


def _count_unwritten(user_ids: Collection[int]) -> dict[int, int]:
    month = timezone.now().astimezone(UTC).date().replace(day=1)
    rows = UsePeriod.objects.filter(user_id__in=list(user_ids), month=month)
    return {
        row.user_id: left
        for row in rows
        if (left := row.total_upoints // UPOINTS - row.charged_mpoints) > 0
    }


def _fill_times(deployment_id: UUID, measured: Measured) -> tuple[int, int]:
    """Return prefill and decode time; what a server did not say is what its latest uses took."""
    prefill_ms, decode_ms = measured.prefill_ms, measured.decode_ms
    if prefill_ms is not None and decode_ms is not None:
        return prefill_ms, decode_ms
    latest = Use.objects.filter(
        deployment_id=deployment_id, state=UseState.COMPLETE, num_tokens__gt=0
    ).order_by("-id")[:_LATEST]
    mean = latest.aggregate(
        prefill=Avg(F("prefill_ms") * 1.0),
        decode=Sum("decode_ms") * 1.0 / Sum("num_tokens"),
    )
    if prefill_ms is None:
        prefill_ms = round(mean["prefill"] or 0)
    if decode_ms is None:
        decode_ms = round((mean["decode"] or 0) * measured.num_tokens)
    return prefill_ms, decode_ms
