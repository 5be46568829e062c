"""Zip, unzip and copy: queued, run by the control worker, watched and ended by their owner.

What they make lies among the drafts until it is whole, then one rename puts it in its place. A work
whose worker died is begun again: its half-made draft is removed first.
"""

import contextlib
import os
import stat
import time
from collections.abc import Sequence
from datetime import timedelta

import structlog
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from studio.accounts.models import User
from studio.celery import app
from studio.core.audit import record
from studio.core.errors import BadInput, StudioError
from studio.drive.archives import build_zip, check_archive, list_sources, unpack
from studio.drive.errors import say
from studio.drive.folders import (
    Found,
    create_file,
    move_beside,
    open_file,
    open_folder,
    remove_tree,
    stat_at,
    walk,
)
from studio.drive.models import Work, WorkKind, WorkState
from studio.drive.names import parse_name, parse_path, show_path
from studio.drive.spaces import Space, check_room, get_use, note_use, open_space

log = structlog.get_logger(__name__)
RUN_TASK = "studio.drive.tasks.run_work"
_SLOTS = 2  # of the control worker's six threads: imports have two, and its ticks must go on
_SAID_EVERY_S = 0.5
_SILENT = timedelta(seconds=60)
_MOST_WAITING = 20
_PIECE_BYTES = 2**20
_LIVING = (WorkState.WAITING, WorkState.RUNNING)


class Cancelled(Exception):
    """Its owner no longer wants it."""


class Progress:
    """Says how far a work is, now and then, and hears there whether it is to end."""

    def __init__(self, work: Work) -> None:
        """Begin at nothing."""
        self._work, self._done, self._said_at = work, 0, time.monotonic()

    def advance(self, num_bytes: int) -> None:
        """Count bytes.

        Raises:
            Cancelled: the owner has ended it.
        """
        self._done += num_bytes
        if time.monotonic() - self._said_at >= _SAID_EVERY_S:
            self.say()

    def say(self) -> None:
        """Write down how far it is.

        Raises:
            Cancelled: the owner has ended it.
        """
        self._said_at = time.monotonic()
        living = Work.objects.filter(pk=self._work.pk, is_cancel_wished=False)
        if not living.update(done_bytes=self._done, beat_at=timezone.now()):
            raise Cancelled


def submit_work(
    *, by: User, kind: str, paths: Sequence[Sequence[str]], target: Sequence[str], name: str = ""
) -> Work:
    """Queue a work after looking whether it can be done at all.

    Raises:
        BadInput: it is unclear what is wanted, or too much waits already.
        OSError: one of the paths is not there.
    """
    if kind == WorkKind.UNZIP and len(paths) != 1:
        raise BadInput("paths: unzip one file at a time.", field="paths", code="one_zip")
    if name:
        name = show_path([parse_name(name)])
    with open_space(by) as space:
        for parts in paths:
            info = stat_at(space.home, parts)
            if kind == WorkKind.COPY and not parts:
                raise BadInput(
                    "paths: your home cannot be copied into itself.",
                    field="paths",
                    code="into_itself",
                )
            if kind == WorkKind.COPY and tuple(target[: len(parts)]) == tuple(parts):
                raise BadInput(
                    "target: a folder cannot go into itself.", field="target", code="into_itself"
                )
            if kind == WorkKind.UNZIP and not stat.S_ISREG(info.st_mode):
                raise BadInput(
                    "paths: only a zip file can be unpacked.", field="paths", code="not_a_zip"
                )
        with open_folder(space.home, target):
            pass
    if Work.objects.filter(user=by, state__in=_LIVING).count() >= _MOST_WAITING:
        raise BadInput(
            f"{_MOST_WAITING} works wait already: wait for one of them to end.",
            code="too_many_waiting",
            most=_MOST_WAITING,
        )
    work = Work.objects.create(
        user=by,
        kind=kind,
        paths=[show_path(parts) for parts in paths],
        target=show_path(target),
        name=name,
    )
    record("drive.work_queued", actor=by, subject=str(work.pk), kind=kind)
    transaction.on_commit(lambda: _send(work))
    return work


def cancel_work(*, by: User, work: Work) -> Work:
    """End a work; what it made so far goes, what it was made from stays."""
    Work.objects.filter(pk=work.pk, state__in=_LIVING).update(is_cancel_wished=True)
    waiting = Work.objects.filter(pk=work.pk, state=WorkState.WAITING)
    waiting.update(state=WorkState.CANCELLED, ended_at=timezone.now())
    work.refresh_from_db()
    record("drive.work_cancelled", actor=by, subject=str(work.pk))
    return work


def run_work(work_id: str) -> bool:
    """Run a work if it waits and there is a place free; say whether it ran."""
    work = _claim(work_id)
    if work is None:
        return False
    problem: dict[str, object] = {}
    state = WorkState.DONE
    try:
        _make(work)
    except Cancelled:
        state = WorkState.CANCELLED
    except (StudioError, OSError) as error:
        said = say(error) if isinstance(error, OSError) else error
        if not isinstance(said, StudioError):
            log.exception("drive.work_failed", work_id=str(work.pk))
            said = StudioError("The disk could not be read or written.", code="disk_fault")
        state = WorkState.FAILED
        problem = {"code": said.code, "message": said.message, "params": said.params}
    finally:
        with open_space(work.user) as space:
            _clear(space, str(work.pk))
    # Freed together with the end: a place that nothing runs in is never held.
    Work.objects.filter(pk=work.pk).update(
        state=state,
        problem=problem,
        result_path=work.result_path,
        slot=None,
        ended_at=timezone.now(),
        **({"done_bytes": work.total_bytes} if state == WorkState.DONE else {}),
    )
    record("drive.work_ended", actor=work.user, subject=str(work.pk), state=state.value)
    _send_next()
    return True


def tend_works() -> int:
    """Take back what died with its worker, and send what waits; return how many were sent."""
    silent = Q(state=WorkState.RUNNING, beat_at__lt=timezone.now() - _SILENT)
    Work.objects.filter(silent).update(state=WorkState.WAITING, slot=None, done_bytes=0)
    return _send_next()


def _send(work: Work) -> None:
    app.send_task(RUN_TASK, args=[str(work.pk)])


def _send_next() -> int:
    waiting = list(Work.objects.filter(state=WorkState.WAITING).order_by("created_at")[:_SLOTS])
    for work in waiting:
        _send(work)
    return len(waiting)


def _claim(work_id: str) -> Work | None:
    for slot in range(_SLOTS):
        try:
            with transaction.atomic():
                claimed = Work.objects.filter(pk=work_id, state=WorkState.WAITING).update(
                    state=WorkState.RUNNING, slot=slot, beat_at=timezone.now(), done_bytes=0
                )
        except IntegrityError:
            continue  # this place is taken
        return Work.objects.select_related("user").get(pk=work_id) if claimed else None
    return None


def _make(work: Work) -> None:
    progress = Progress(work)
    paths = [parse_path(path) for path in work.paths]
    with open_space(work.user) as space:
        _clear(space, str(work.pk))
        if work.kind == WorkKind.ZIP:
            _zip(work, space, paths, progress)
        elif work.kind == WorkKind.UNZIP:
            _unzip(work, space, paths[0], progress)
        else:
            _copy(work, space, paths, progress)


def _zip(work: Work, space: Space, paths: list[tuple[str, ...]], progress: Progress) -> None:
    sources = list_sources(work.user, paths)
    _set_total(work, sum(one.info.st_size for _, one in sources if not one.is_folder))
    num_bytes = 0
    with os.fdopen(create_file(space.drafts, str(work.pk)), "wb") as file:
        free = get_use(work.user).free_bytes
        for piece in build_zip(work.user, sources, progress.advance):
            num_bytes += len(piece)
            if num_bytes > free:
                check_room(work.user, num_bytes)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    stem = paths[0][-1] if len(paths) == 1 and paths[0] else "archive"
    _place(work, space, work.name or f"{stem}.zip", progress)
    note_use(work.user, num_bytes)


def _unzip(work: Work, space: Space, parts: tuple[str, ...], progress: Progress) -> None:
    with open_file(space.home, parts) as file:
        archive, total = check_archive(file, get_use(work.user).free_bytes)
        _set_total(work, total)
        with archive, open_folder(space.drafts, [str(work.pk)], make=True) as into:
            unpack(archive, into, progress.advance)
    stem = parts[-1].removesuffix(".zip").removesuffix(".ZIP") or parts[-1]
    _place(work, space, work.name or stem, progress)
    note_use(work.user, total)


def _copy(work: Work, space: Space, paths: list[tuple[str, ...]], progress: Progress) -> None:
    all_found = []
    for parts in paths:
        first = Found(parts, stat_at(space.home, parts))
        inside = walk(space.home, parts) if first.is_folder else iter(())
        all_found.append([first, *inside])
    total = sum(one.info.st_size for found in all_found for one in found if not one.is_folder)
    check_room(work.user, total)
    _set_total(work, total)
    with open_folder(space.drafts, [str(work.pk)], make=True) as into:
        for found in all_found:
            for one in found:
                _copy_one(space, one, into, one.parts[len(found[0].parts) - 1 :], progress)
        for parts in paths:
            with open_folder(space.home, parse_path(work.target)) as target:
                progress.say()
                placed = move_beside(into, parts[-1], target, parts[-1])
            work.result_path = show_path([*parse_path(work.target), placed])
    note_use(work.user, total)


def _copy_one(
    space: Space, one: Found, into: int, parts: tuple[str, ...], progress: Progress
) -> None:
    mode = one.info.st_mode
    if one.is_folder:
        with open_folder(into, parts, make=True):
            return
    if not stat.S_ISREG(mode):
        return  # links and special files stay where they are
    with open_folder(into, parts[:-1], make=True) as folder:
        fd = create_file(folder, parts[-1], stat.S_IMODE(mode))
    with os.fdopen(fd, "wb") as copy, open_file(space.home, one.parts) as file:
        while piece := file.read(_PIECE_BYTES):
            copy.write(piece)
            progress.advance(len(piece))
        copy.flush()
        os.utime(copy.fileno(), ns=(one.info.st_atime_ns, one.info.st_mtime_ns))


def _place(work: Work, space: Space, name: str, progress: Progress) -> None:
    progress.say()
    target = parse_path(work.target)
    with open_folder(space.home, target) as folder:
        placed = move_beside(space.drafts, str(work.pk), folder, name)
    work.result_path = show_path([*target, placed])


def _set_total(work: Work, total: int) -> None:
    work.total_bytes = total
    Work.objects.filter(pk=work.pk).update(total_bytes=total, beat_at=timezone.now())


def _clear(space: Space, draft: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        remove_tree(space.drafts, draft)
