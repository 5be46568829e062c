"""What may be seen of jobs and runs."""

from studio.accounts.models import User
from studio.jobs.models import Run


def get_burn_mpoints_per_hour(user: User) -> int:
    """Return what the user's running jobs cost per hour together."""
    rates = Run.objects.filter(job__owner=user, status__in=["running", "stopping"])
    return sum(rates.values_list("rate_mpoints_per_hour", flat=True))
