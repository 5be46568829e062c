"""The periodic work of serving."""

from celery import shared_task

from studio.serving import kept_uses, metering, rollouts, services
from studio.serving.gate import try_server


@shared_task
def tend_deployments() -> int:
    """Stop what is idle and end what has lost its run."""
    return services.tend_deployments()


@shared_task
def tend_rollouts() -> int:
    """Try new revisions that are up, and let them answer or set them aside."""
    return rollouts.tend_rollouts(try_server)


@shared_task
def settle_uses() -> int:
    """Charge what asking models has cost, what the database was not there for included."""
    kept_uses.write_kept_uses()
    return metering.settle_uses()
