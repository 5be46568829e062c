"""Runs an import in the control worker, and takes up again what its worker left.

A run claims one of a few places, beats while it lives, and ends the import in one update. Who is
silent for a minute is taken for dead: the import is sent again and goes on with the bytes on disk.
"""

import errno
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from studio.celery import app
from studio.core.audit import record
from studio.core.errors import StudioError
from studio.drive.errors import say
from studio.hub.models import Commit
from studio.importing.folders import list_folders, remove_folder
from studio.importing.gathering import gather
from studio.importing.models import LIVING, RUNNING, Import, ImportState
from studio.importing.progress import Cancelled, Lost, Progress, keep_beating
from studio.importing.sealing import unseal
from studio.importing.sources import read_place
from studio.importing.storing import store

log = structlog.get_logger(__name__)
RUN_TASK = "studio.importing.tasks.run_import"
SLOTS = 2
_SILENT = timedelta(seconds=60)
_KEPT = timedelta(days=7)
_MOST_DEATHS = 5
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def send_import(item: Import) -> None:
    """Ask the control worker to run it."""
    app.send_task(RUN_TASK, args=[str(item.pk)])


def run_import(import_id: str) -> bool:
    """Run an import if it waits and there is a place for it; say whether it ran."""
    item = _claim(import_id)
    if item is None:
        return False
    try:
        with keep_beating(item):
            commit = _bring(item)
    except Lost:
        return True
    except Cancelled:
        _end(item, ImportState.CANCELLED)
    except (StudioError, OSError) as error:
        _end(item, ImportState.FAILED, problem=_to_problem(item, error))
    else:
        _end(item, ImportState.DONE, commit_sha=commit.sha)
    send_next()
    return True


def fail_import(import_id: str) -> None:
    """End an import whose run met what nobody foresaw."""
    problem = {
        "code": "internal_error",
        "message": "The studio failed at this import; the operator's log says why.",
        "params": {},
    }
    item = Import.objects.select_related("owner").filter(pk=import_id, state__in=RUNNING).first()
    if item is not None:
        _end(item, ImportState.FAILED, problem=problem)


def tend_imports() -> int:
    """Take back what died with its worker, and send what waits; return how many were sent."""
    silent = Q(state__in=RUNNING, beat_at__lt=timezone.now() - _SILENT)
    for item in Import.objects.select_related("owner").filter(silent):
        if item.is_cancel_wished:
            _end(item, ImportState.CANCELLED)
        elif item.num_deaths >= _MOST_DEATHS:
            fail_import(str(item.pk))
        else:
            mine = Import.objects.filter(silent, pk=item.pk, attempt=item.attempt)
            mine.update(state=ImportState.WAITING, slot=None, num_deaths=F("num_deaths") + 1)
    return send_next()


def send_next() -> int:
    """Send the oldest that wait, of people who have none running; return how many were sent."""
    found = list(_list_next())
    for item in found:
        send_import(item)
    return len(found)


def sweep_folders() -> int:
    """Remove the folders of imports that have ended, a failed one's after a week."""
    kept = Q(state__in=LIVING) | Q(state=ImportState.FAILED, ended_at__gte=timezone.now() - _KEPT)
    folders = list_folders()
    wanted: set[UUID] = set(
        Import.objects.filter(kept, pk__in=folders).values_list("pk", flat=True)
    )
    gone = [import_id for import_id in folders if import_id not in wanted]
    for import_id in gone:
        remove_folder(import_id)
    return len(gone)


def _list_next() -> QuerySet[Import]:
    busy = Import.objects.filter(state__in=RUNNING).values("owner_id")
    waiting = Import.objects.filter(state=ImportState.WAITING).exclude(owner_id__in=busy)
    return waiting.order_by("created_at")[:SLOTS]


def _claim(import_id: str) -> Import | None:
    item = Import.objects.filter(pk=import_id, state=ImportState.WAITING).first()
    if item is None or _is_busy(item.owner_id):
        return None
    for slot in range(SLOTS):
        try:
            with transaction.atomic():
                claimed = Import.objects.filter(pk=import_id, state=ImportState.WAITING).update(
                    state=ImportState.FETCHING,
                    slot=slot,
                    attempt=F("attempt") + 1,
                    beat_at=timezone.now(),
                )
        except IntegrityError:
            continue  # this place is taken
        return Import.objects.select_related("owner").get(pk=import_id) if claimed else None
    return None


def _is_busy(owner_id: int) -> bool:
    """Say whether somebody has one running: no person's imports take all places."""
    return Import.objects.filter(owner_id=owner_id, state__in=RUNNING).exists()


def _bring(item: Import) -> Commit:
    token = unseal(item.sealed_token)
    place = read_place(item.source, item.kind, token=token)
    progress = Progress(item)
    with gather(item, place, token, progress) as pieces:
        return store(item, place, pieces, progress)


def _end(item: Import, state: ImportState, **more: Any) -> None:
    # The place is freed together with the end: one that nothing runs in is never held.
    mine = Import.objects.filter(pk=item.pk, attempt=item.attempt, state__in=RUNNING)
    ended = mine.update(
        state=state,
        sealed_token="",
        current_file="",
        slot=None,
        ended_at=timezone.now(),
        **more,
    )
    if not ended:
        return
    if state != ImportState.FAILED:
        remove_folder(item.pk)
    record("import.ended", actor=item.owner, subject=str(item.pk), state=state.value)


def _to_problem(item: Import, error: StudioError | OSError) -> dict[str, Any]:
    said = say(error) if isinstance(error, OSError) else error
    if isinstance(error, OSError) and error.errno in _FULL:
        said = StudioError("The studio's disk is full: ask the operator.", code="disk_full")
    if not isinstance(said, StudioError):
        log.error("import.disk_fault", import_id=str(item.pk), exc_info=error)
        said = StudioError("The disk could not be read or written.", code="disk_fault")
    return {"code": said.code, "message": said.message, "params": said.params}
