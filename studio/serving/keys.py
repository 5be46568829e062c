"""API keys: made, shown once, revoked, and asked for what they may do."""

from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from engine.specs import split_ref
from studio.accounts.models import User
from studio.accounts.secret_hash import hash_secret, make_secret
from studio.core import audit
from studio.core.errors import BadInput, Conflict, Forbidden, NotFound, StudioError
from studio.serving.models import ApiKey

PREFIX = "sk-ath-"
MOST_KEYS = 100
MOST_DAYS = 3650
_USE_NOTED_EVERY = timedelta(minutes=1)
_UPOINTS = 1000  # of a milli-point


class BudgetExhausted(StudioError):
    """The key, or its person, has nothing left to spend. OpenAI's clients do not retry a 402."""

    code = "budget_exhausted"
    status = 402


@dataclass(frozen=True)
class KeyWish:
    """What a key shall be."""

    name: str
    models: tuple[str, ...] = ()
    """Repo ids; none is any."""
    budget_mpoints: int | None = None
    expires_in_days: int | None = None


def list_keys(viewer: User) -> QuerySet[ApiKey]:
    """Return a person's own keys, newest first."""
    return ApiKey.objects.filter(user=viewer).order_by("-created_at", "-id")


def get_key(viewer: User, key_id: int) -> ApiKey:
    """Return one of a person's own keys.

    Raises:
        NotFound: they have none of that number.
    """
    found = list_keys(viewer).filter(pk=key_id).first()
    if found is None:
        raise NotFound
    return found


@transaction.atomic
def create_key(*, user: User, wish: KeyWish) -> tuple[ApiKey, str]:
    """Make a key and return it with its text, which is kept nowhere.

    Raises:
        BadInput: a model is no repo id, or a number is out of bounds.
        Conflict: the person has as many as anybody may.
        ValidationError: the name is blank or too long.
    """
    User.objects.select_for_update().get(pk=user.pk)
    _check_wish(user, wish)
    raw = f"{PREFIX}{make_secret()}"
    days = timedelta(days=wish.expires_in_days) if wish.expires_in_days else None
    key = ApiKey(
        user=user,
        name=wish.name.strip(),
        prefix=raw[:14],
        key_hash=hash_secret(raw),
        allowed_models=sorted(set(wish.models)),
        budget_mpoints=wish.budget_mpoints,
        expires_at=timezone.now() + days if days else None,
    )
    key.full_clean()
    key.save(force_insert=True)
    audit.record("api_key.created", actor=user, subject=f"{key.pk}", models=key.allowed_models)
    return key, raw


@transaction.atomic
def revoke_key(*, by: User, key: ApiKey) -> None:
    """End a key of one's own; what it was used for stays on record.

    Raises:
        NotFound: it is another's.
    """
    if key.user_id != by.pk:
        raise NotFound
    audit.record("api_key.revoked", actor=by, subject=f"{key.pk}")
    key.delete()


def find_key(raw: str) -> ApiKey | None:
    """Return a living key of an active person, its use noted; None where there is none."""
    key = (
        ApiKey.objects.select_related("user")
        .filter(key_hash=hash_secret(raw), user__is_active=True)
        .first()
    )
    now = timezone.now()
    if key is None or (key.expires_at and key.expires_at <= now):
        return None
    key.user.is_limited = True  # it may chat; whatever more its person may do, it may not
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - _USE_NOTED_EVERY)
    ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
    return key


def check_key(key: ApiKey, model: str) -> None:
    """Refuse what a key may not ask.

    Raises:
        Forbidden: the model is not one of its own.
        BudgetExhausted: it has spent its budget.
    """
    if key.allowed_models and not set(name_repos(model)) <= set(key.allowed_models):
        raise Forbidden(
            f"This key may not use {model[:200]}: ask one of {', '.join(key.allowed_models)}, or "
            "make a key with it.",
            code="model_not_allowed",
            field="model",
            model=model[:200],
        )
    if key.budget_mpoints is not None and key.spent_upoints >= key.budget_mpoints * _UPOINTS:
        raise BudgetExhausted(
            f"This key has spent its budget of {key.budget_mpoints / 1000:g} points: make a new "
            "key, or one with a larger budget.",
            budget_mpoints=key.budget_mpoints,
        )


def name_repos(model: str) -> list[str]:
    """Return the repo ids that a request's model names: one, or with `+` a base and an adapter."""
    return [split_ref(part)[0] for part in model.split("+", 1)]


def _check_wish(user: User, wish: KeyWish) -> None:
    for model in wish.models:
        namespace, slash, name = model.partition("/")
        if not (namespace and slash and name) or any(mark in model for mark in "@+ "):
            raise BadInput(
                f"models: {model[:200]!r} is no model's name: write namespace/name.",
                field="models",
                code="bad_model_name",
                name=model[:200],
            )
    if wish.budget_mpoints is not None and wish.budget_mpoints < 1:
        raise BadInput(
            "budget_mpoints: write at least 1, or leave it out for no limit of its own.",
            field="budget_mpoints",
            code="bad_budget",
        )
    days = wish.expires_in_days
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise BadInput(
            f"expires_in_days: write 1 to {MOST_DAYS}, or leave it out for a key without an end.",
            field="expires_in_days",
            code="bad_expiry",
            most=MOST_DAYS,
        )
    if list_keys(user).count() >= MOST_KEYS:
        raise Conflict(
            f"You have {MOST_KEYS} API keys, which is the most: revoke one.",
            code="too_many",
            most=MOST_KEYS,
        )
