"""The drive's works, and its periodic ones."""

from celery import shared_task

from studio.drive import uploads, works


@shared_task
def run_work(work_id: str) -> bool:
    """Zip, unzip or copy."""
    return works.run_work(work_id)


@shared_task
def tend_works() -> int:
    """Send on what waits, and what died with its worker."""
    return works.tend_works()


@shared_task
def end_expired_uploads() -> int:
    """End uploads that nobody goes on with."""
    return uploads.end_expired_uploads()
