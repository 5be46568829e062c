"""What people may do with imports: begin one, end it, try it again."""

import errno
import stat
from dataclasses import dataclass, field

from django.db import IntegrityError, transaction
from django.utils import timezone

from studio.accounts.models import User
from studio.core.audit import record
from studio.core.errors import BadInput, Conflict
from studio.drive.errors import say
from studio.drive.folders import open_file, stat_at
from studio.drive.spaces import open_space
from studio.hub.access import check_may_write
from studio.hub.importing import find_repo
from studio.hub.models import Visibility
from studio.hub.names import check_repo_name
from studio.hub.places import find_place
from studio.hub.remote import Source
from studio.hub.services import RepoName
from studio.importing.folders import remove_folder
from studio.importing.gguf import check_magic
from studio.importing.models import LIVING, Import, ImportState
from studio.importing.running import send_import
from studio.importing.sealing import seal
from studio.importing.sources import BadSource, DrivePlace, read_place

_MOST_WAITING = 20


@dataclass(frozen=True)
class Wish:
    """What somebody wants imported, and where to."""

    source: str
    kind: str
    namespace: str
    name: str
    visibility: str = Visibility.PRIVATE
    token: str = field(default="", repr=False)
    """For the source; sealed while the import runs, then forgotten."""


def begin_import(*, by: User, wish: Wish) -> Import:
    """Queue an import into a new repo, or as a new commit of one that is there.

    Raises:
        BadInput: the source is none, or too much waits already.
        NotFound, Forbidden: the caller may not write there.
        Conflict: `import_runs`, when the repo is being imported into already.
    """
    source = wish.source.strip()
    place = read_place(source, wish.kind)
    target = _find_target(by, RepoName(wish.kind, wish.namespace, wish.name))
    if isinstance(place, DrivePlace):
        _check_drive(by, place, wish.token)
    if Import.objects.filter(owner=by, state__in=LIVING).count() >= _MOST_WAITING:
        raise BadInput(
            f"{_MOST_WAITING} imports wait already: wait for one of them to end.",
            code="too_many_waiting",
            most=_MOST_WAITING,
        )
    item = Import(
        owner=by,
        source=source,
        sealed_token=seal(wish.token),
        kind=target.kind,
        namespace=target.namespace,
        name=target.name,
        visibility=wish.visibility,
        revision=place.revision[:200] if isinstance(place, Source) else "",
    )
    _save(item, is_new=True)
    record("import.begun", actor=by, subject=str(item.pk), kind=item.kind, repo=item.repo_id)
    return item


def cancel_import(*, by: User, item: Import) -> Import:
    """End an import. One that runs ends at its next word, and lets go of what it fetched."""
    Import.objects.filter(pk=item.pk, state__in=LIVING).update(is_cancel_wished=True)
    waiting = Import.objects.filter(pk=item.pk, state=ImportState.WAITING)
    if waiting.update(state=ImportState.CANCELLED, sealed_token="", ended_at=timezone.now()):
        remove_folder(item.pk)
    item.refresh_from_db()
    record("import.cancelled", actor=by, subject=str(item.pk))
    return item


def retry_import(*, by: User, item: Import, token: str = "") -> Import:
    """Queue an import again that failed or was cancelled; it goes on with the bytes it has.

    Raises:
        NotFound, Forbidden: the caller may no longer write there.
        Conflict: it runs or is done, or another one of this repo runs.
    """
    if item.state not in {ImportState.FAILED, ImportState.CANCELLED}:
        message = "state: only an import that failed or was cancelled is tried again."
        raise Conflict(message, field="state", code="import_not_ended", state=item.state)
    _find_target(by, RepoName(item.kind, item.namespace, item.name))
    item.state, item.is_cancel_wished = ImportState.WAITING, False
    item.sealed_token, item.problem, item.ended_at = seal(token), None, None
    item.num_deaths, item.current_file = 0, ""
    _save(item, is_new=False)
    record("import.retried", actor=by, subject=str(item.pk))
    return item


def _find_target(by: User, wanted: RepoName) -> RepoName:
    """Return the repo's name as it is or will be written."""
    name = check_repo_name(wanted.name)
    place = find_place(by, wanted.namespace)
    repo = find_repo(RepoName(wanted.kind, place.namespace, name))
    if repo is None:
        return RepoName(wanted.kind, place.namespace, name)
    check_may_write(by, repo)
    return RepoName(wanted.kind, repo.namespace, repo.name)


def _check_drive(by: User, place: DrivePlace, token: str) -> None:
    if token:
        raise BadInput(
            "token: your own drive asks for none; leave it empty.",
            field="token",
            code="token_not_needed",
        )
    try:
        with open_space(by) as space:
            info = stat_at(space.home, place.parts)
            if place.is_gguf:
                with open_file(space.home, place.parts) as file:
                    check_magic(file.read(4))
            elif not stat.S_ISDIR(info.st_mode):
                raise OSError(errno.ENOTDIR, "not a folder")
    except OSError as error:
        if say(error) is error:
            raise
        raise BadSource("your drive has no such folder, and no such .gguf file") from error


def _save(item: Import, *, is_new: bool) -> None:
    try:
        with transaction.atomic():
            item.save(force_insert=is_new, force_update=not is_new)
            transaction.on_commit(lambda: send_import(item), robust=True)
    except IntegrityError as error:
        message = (
            f"name: {item.repo_id} is being imported already; wait until that ends, or cancel it."
        )
        raise Conflict(message, field="name", code="import_runs", repo=item.repo_id) from error
