"""What may be done with jobs. The one door for other apps; each noun's writes live in its own module."""

from typing import Any

from engine.status import Reason
from studio.accounts.models import User
from studio.jobs.models import Job


def submit_job(
    *,
    owner: User,
    spec: dict[str, Any],
    flavor_name: str,
    name: str = "",
    key: str | None = None,
    is_platform: bool = False,
) -> tuple[Job, bool]:
    """Launch a job: validate, hold the points, make the job and its first run."""
    raise NotImplementedError


def stop_job(
    *, by: User | None, job: Job, reason: Reason = Reason.STOPPED_BY_OWNER, message: str = ""
) -> Job:
    """Stop the job's live run. `by` None is the platform."""
    raise NotImplementedError


def retry_job(*, by: User, job: Job, resume: bool) -> Job:
    """Make the next run of a job that has ended."""
    raise NotImplementedError
