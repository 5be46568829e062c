"""The hub's periodic work."""

from celery import shared_task

from studio.hub import sweeping


@shared_task
def sweep_hub() -> int:
    """Remove the bytes that no commit names any more; return how many objects."""
    return sweeping.sweep_hub()
