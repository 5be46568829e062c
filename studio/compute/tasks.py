"""The nodes' periodic work, run by the control worker."""

from celery import shared_task

from studio.compute import upkeep


@shared_task(ignore_result=True)
def tend_drains() -> None:
    upkeep.tend_drains()
