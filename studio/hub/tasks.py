"""The hub's periodic work."""

from celery import shared_task

from studio.hub.sweeping import sweep_blobs


@shared_task
def sweep_hub() -> int:
    """Remove the bytes that no commit names any more; return how many files."""
    return sweep_blobs()
