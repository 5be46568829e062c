"""The ledger: who has how many milli-points, and every move of them.

What no code may break is kept by the database: see `guards`. Rows are only ever added.
"""

from django.conf import settings
from django.db import models
from django.db.models import Q


class Kind(models.TextChoices):
    """What an account is for: two of each person, and the platform's two."""

    AVAILABLE = "available"
    HELD = "held"
    ISSUANCE = "issuance"
    REVENUE = "revenue"


USER_KINDS = [Kind.AVAILABLE.value, Kind.HELD.value]


class Reason(models.TextChoices):
    """Why points moved."""

    GRANT = "grant"
    HOLD = "hold"
    CHARGE = "charge"
    RELEASE = "release"
    REFUND = "refund"


class PointAccount(models.Model):
    """A balance in milli-points. Issuance is below zero by all that was ever granted."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="point_accounts",
    )
    kind = models.CharField(max_length=10, choices=Kind.choices)
    balance = models.BigIntegerField(default=0)
    """Sum of the account's entries; only the database's own trigger moves it."""

    class Meta:
        """A person has one account of a kind, the platform one of its own; people owe nothing."""

        constraints = [
            models.UniqueConstraint(
                fields=["user", "kind"],
                condition=Q(user__isnull=False),
                name="point_account_once_per_user",
            ),
            models.UniqueConstraint(
                fields=["kind"],
                condition=Q(user__isnull=True),
                name="point_account_once_per_platform",
            ),
            models.CheckConstraint(
                condition=Q(user__isnull=False, kind__in=USER_KINDS)
                | Q(user__isnull=True, kind__in=[Kind.ISSUANCE.value, Kind.REVENUE.value]),
                name="point_account_kind_fits",
            ),
            models.CheckConstraint(
                condition=Q(balance__gte=0) | Q(kind=Kind.ISSUANCE.value),
                name="point_account_not_below_zero",
            ),
        ]

    def __str__(self) -> str:
        """Return whose account of what kind."""
        return f"{self.user or 'platform'} {self.kind}"


class Zero(models.Model):
    """One row, 0: what the entries of a transfer may sum to when their transaction commits."""

    id = models.BigIntegerField(primary_key=True)

    class Meta:
        """Nothing but 0 is zero."""

        constraints = [models.CheckConstraint(condition=Q(id=0), name="point_zero_is_zero")]


class Transfer(models.Model):
    """One move of a person's points, made of entries that sum to zero."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="point_transfers"
    )
    """Whose points moved."""
    reason = models.CharField(max_length=10, choices=Reason.choices)
    note = models.CharField(max_length=200, blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="+",
    )
    """Who moved them; None is the platform."""
    run_id = models.UUIDField(null=True, blank=True)
    key = models.CharField(max_length=300, unique=True)
    """Names the move, so that asking twice moves once."""
    created_at = models.DateTimeField(auto_now_add=True)
    imbalance = models.ForeignKey(
        Zero, on_delete=models.PROTECT, default=0, db_column="imbalance", related_name="+"
    )
    """Sum of the entries so far; as a reference to `Zero` it is checked at commit."""

    class Meta:
        """Statements read by person, costs by run."""

        constraints = [
            models.CheckConstraint(
                condition=Q(reason=Reason.GRANT.value) | Q(run_id__isnull=False),
                name="point_transfer_names_run",
            )
        ]
        indexes = [
            models.Index(fields=["user", "-id"], name="point_transfer_user"),
            models.Index(fields=["run_id"], name="point_transfer_run"),
        ]

    def __str__(self) -> str:
        """Return what moved whose points."""
        return self.key


class Entry(models.Model):
    """What a transfer does to one account."""

    transfer = models.ForeignKey(Transfer, on_delete=models.PROTECT, related_name="entries")
    account = models.ForeignKey(
        PointAccount, on_delete=models.PROTECT, db_index=False, related_name="entries"
    )
    amount = models.BigIntegerField()
    balance_after = models.BigIntegerField()

    class Meta:
        """A transfer touches an account once, and only to move something."""

        constraints = [
            models.UniqueConstraint(
                fields=["account", "transfer"], name="point_entry_once_per_account"
            ),
            models.CheckConstraint(condition=~Q(amount=0), name="point_entry_moves_something"),
        ]
        indexes = [models.Index(fields=["account", "-id"], name="point_entry_newest")]

    def __str__(self) -> str:
        """Return the amount and the account."""
        return f"{self.amount:+d} {self.account_id}"
