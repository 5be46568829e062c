"""What a training would learn, token by token, shown before it is launched.

The tokenizer lives on nodes alone, so a look is a run there: the studio's own, which nobody pays
for. It reads as its viewer may, not as the studio does.
"""

import hashlib
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from engine.specs import InspectSpec
from engine.status import FINAL, Reason, Status
from studio.accounts.models import User
from studio.core.errors import NotFound
from studio.core.sentences import find_told
from studio.jobs.models import LIVE, Job, RunEvent
from studio.jobs.refs import pin_refs
from studio.jobs.services import stop_job, submit_job

KIND = "inspect"
FLAVOR = "inspect"
_KEPT = timedelta(days=1)
_FIELDS = ("model", "dataset", "mixture", "stage", "max_length")
_FAILED = sorted(status.value for status in FINAL - {Status.SUCCEEDED})


def begin_preview(*, by: User, spec: dict[str, Any]) -> Job:
    """Have a node render the first rows of a training's data; the same wish answers the same look.

    Only the fields that say what is learnt from what are read of `spec`. A person's earlier looks
    end with a new one.

    Raises:
        SpecValidationError: one of these fields breaks its own rules.
        StudioError: a repo that the viewer may not see.
    """
    wanted = {name: spec[name] for name in _FIELDS if name in spec}
    pinned = pin_refs(by, InspectSpec.model_validate(wanted))
    if pinned.errors:
        raise pinned.errors[0]
    body = {"kind": KIND, **wanted, **pinned.resolved}
    key = "look-" + hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    looks = Job.objects.filter(owner=by, kind=KIND)
    looks.filter(key=key, current_run__status__in=_FAILED).update(key=None)  # it may go well now
    for other in looks.filter(current_run__status__in=LIVE).exclude(key=key):
        stop_job(by=None, job=other, reason=Reason.STOPPED_BY_OWNER)
    _forget_old(by)
    job, _ = submit_job(
        owner=by,
        spec=body,
        flavor_name=FLAVOR,
        name="A look at data",
        key=key,
        is_platform=True,
    )
    return job


def get_preview(viewer: User, job_id: UUID) -> dict[str, Any]:
    """Return how far a look is, and what it shows once it is done.

    Raises:
        NotFound: it is not the viewer's.
    """
    looks = Job.objects.filter(owner=viewer, kind=KIND).select_related("current_run")
    job = looks.filter(pk=job_id).first()
    if job is None or job.current_run is None:
        raise NotFound
    run = job.current_run
    told = RunEvent.objects.filter(run=run, type="preview").order_by("-seq").first()
    return {
        "id": job.pk,
        "status": run.status,
        "reason": run.reason,
        "message": run.message,
        "told": find_told(run.message),
        "inspection": told.body["inspection"] if told and told.body else None,
    }


@transaction.atomic
def _forget_old(by: User) -> None:
    """Delete what nobody looks at any more."""
    old = Job.objects.filter(owner=by, kind=KIND, created_at__lt=timezone.now() - _KEPT)
    for job in old.exclude(current_run__status__in=LIVE):
        job.runs.all().delete()
        job.delete()
