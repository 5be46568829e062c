"""What changes a drive: folders, moves, trash, edits, shares, quotas. Uploads: see `uploads`."""

import contextlib
import errno
import os
import secrets
import stat
import uuid
from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from studio.accounts.models import User
from studio.accounts.secret_hash import hash_secret
from studio.accounts.selectors import find_user
from studio.core.audit import record
from studio.core.errors import BadInput, Conflict, NotFound
from studio.drive.errors import Changed
from studio.drive.folders import (
    create_file,
    create_folder,
    move_beside,
    move_new,
    open_folder,
    open_parent,
    remove_tree,
    walk,
)
from studio.drive.models import DriveQuota, Share, TrashEntry
from studio.drive.names import parse_path, show_path
from studio.drive.selectors import etag_of
from studio.drive.spaces import Space, apply_quota, check_room, note_use, open_space

Parts = Sequence[str]
MOST_TEXT_BYTES = 4 * 2**20


def make_folder(*, by: User, parts: Parts) -> None:
    """Make a folder, and the folders it lies in.

    Raises:
        OSError: its name is taken.
    """
    with open_space(by) as space, open_parent(space.home, parts, make=True) as (folder, name):
        create_folder(folder, name)
    record("drive.folder_made", actor=by, subject=show_path(parts))


def rename(*, by: User, parts: Parts, name: str) -> str:
    """Give a thing another name where it lies; return its path.

    Raises:
        OSError: it is gone, or the name is taken.
    """
    with open_space(by) as space, open_parent(space.home, parts) as (folder, old):
        if name != old:
            move_new(folder, old, folder, name)
    record("drive.renamed", actor=by, subject=show_path(parts), name=name)
    return show_path([*parts[:-1], name])


def move(*, by: User, paths: Sequence[Parts], target: Parts) -> list[str]:
    """Move things into a folder and return their paths; a name that is taken there gets a number.

    Raises:
        BadInput: a folder is to go into itself.
        OSError: one is gone, or the target is.
    """
    for parts in paths:
        if tuple(target[: len(parts)]) == tuple(parts):
            raise BadInput(
                "target: a folder cannot go into itself.", field="target", code="into_itself"
            )
    moved = []
    with open_space(by) as space, open_folder(space.home, target) as into:
        for parts in paths:
            with open_parent(space.home, parts) as (folder, name):
                if os.path.sameopenfile(folder, into):
                    os.stat(name, dir_fd=folder, follow_symlinks=False)
                    moved.append(show_path(parts))
                    continue
                moved.append(show_path([*target, move_beside(folder, name, into, name)]))
    record("drive.moved", actor=by, subject=show_path(target), num=len(moved))
    return moved


def trash(*, by: User, paths: Sequence[Parts]) -> list[TrashEntry]:
    """Put things into the trash, from where they come back.

    Raises:
        OSError: one is gone.
    """
    with open_space(by) as space:
        entries = [_trash_one(by, space, parts) for parts in paths]
    record("drive.trashed", actor=by, subject=by.username, num=len(entries))
    return entries


def restore(*, by: User, entry_id: uuid.UUID) -> str:
    """Put a thing from the trash back where it lay and return its path; a taken name is numbered.

    Raises:
        NotFound: it is not in this person's trash.
    """
    entry = _get_entry(by, entry_id)
    parts = parse_path(entry.path)
    with open_space(by) as space:
        try:
            with open_parent(space.home, parts, make=True) as (folder, name):
                placed = move_beside(space.trash, str(entry.pk), folder, name)
                where = show_path([*parts[:-1], placed])
        except (NotADirectoryError, OSError) as error:
            if error.errno == errno.ENOENT:
                entry.delete()
                raise NotFound from error
            if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
                raise
            # A file stands where its folder was: it comes back at the top.
            where = show_path([move_beside(space.trash, str(entry.pk), space.home, parts[-1])])
    entry.delete()
    record("drive.restored", actor=by, subject=where)
    return where


def empty_trash(*, by: User, entry_id: uuid.UUID | None = None) -> int:
    """Delete what lies in the trash for good, or one thing of it; return how many."""
    if entry_id is None:
        entries = list(TrashEntry.objects.filter(user=by))
    else:
        entries = [_get_entry(by, entry_id)]
    with open_space(by) as space:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # a restore was faster
                remove_tree(space.trash, str(entry.pk))
            note_use(by, -entry.size_bytes)
            entry.delete()
    record("drive.trash_emptied", actor=by, subject=by.username, num=len(entries))
    return len(entries)


def write_text(*, by: User, parts: Parts, text: str, etag: str | None) -> str:
    """Write a text file whole and return its new ETag; None as `etag` makes a new one.

    Raises:
        Changed: it is no longer what was read, or it is there although it should be new.
        BadInput: the text is too long for the editor.
    """
    raw = text.encode()
    if len(raw) > MOST_TEXT_BYTES:
        raise BadInput(
            "text: the editor writes at most 4 MiB; upload the file.",
            field="text",
            code="text_too_long",
            most=MOST_TEXT_BYTES,
        )
    check_room(by, len(raw))
    with open_space(by) as space, open_parent(space.home, parts) as (folder, name):
        mode = _check_unchanged(folder, name, etag)
        draft = str(uuid.uuid4())
        fd = create_file(space.drafts, draft, mode)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(raw)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), mode)
                written = os.fstat(file.fileno())
            if etag is None:
                move_new(space.drafts, draft, folder, name)
            else:
                _check_unchanged(folder, name, etag)
                os.rename(draft, name, src_dir_fd=space.drafts, dst_dir_fd=folder)
        except BaseException:
            _forget(space.drafts, draft)
            raise
    note_use(by, len(raw))
    record("drive.written", actor=by, subject=show_path(parts), size_bytes=len(raw))
    return etag_of(written)


def share(*, by: User, parts: Parts, days: int) -> tuple[Share, str]:
    """Make a link to a file or a folder that ends; return it with its token, shown only now.

    Raises:
        OSError: there is no such thing.
        BadInput: it is a link or a special file.
    """
    with open_space(by) as space, open_parent(space.home, parts) as (folder, name):
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise BadInput(
            "path: only files and folders can be shared.", field="path", code="not_a_file"
        )
    token = secrets.token_urlsafe(24)
    made = Share.objects.create(
        owner=by,
        path=show_path(parts),
        token_hash=hash_secret(token),
        expires_at=timezone.now() + timedelta(days=days),
    )
    record("drive.shared", actor=by, subject=made.path, days=days)
    return made, token


def revoke_share(*, by: User, share_id: uuid.UUID) -> None:
    """End a link at once.

    Raises:
        NotFound: it is not this person's.
    """
    num, _ = Share.objects.filter(owner=by, pk=share_id).delete()
    if not num:
        raise NotFound
    record("drive.share_revoked", actor=by, subject=str(share_id))


def set_quota(*, by: User, username: str, quota_bytes: int | None) -> User:
    """Set a person's quota, None for the default, and tell the file system. Nothing is deleted.

    Raises:
        NotFound: the caller does not operate, or there is no such person.
    """
    if not by.has_role("operator"):
        raise NotFound
    user = find_user(by, username)
    with transaction.atomic():
        row, _ = DriveQuota.objects.select_for_update().get_or_create(user=user)
        row.quota_bytes = quota_bytes
        row.full_clean()
        row.save(update_fields=["quota_bytes"])
    apply_quota(user)
    record("drive.quota_set", actor=by, subject=username, quota_bytes=quota_bytes)
    return user


def _trash_one(by: User, space: Space, parts: Parts) -> TrashEntry:
    with open_parent(space.home, parts) as (folder, name):
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        is_folder = stat.S_ISDIR(info.st_mode)
        size_bytes = info.st_size
        if is_folder:
            inside = walk(space.home, parts)
            size_bytes = sum(one.info.st_size for one in inside if not one.is_folder)
        # The row first: a file in the trash that no row knows could never come back.
        entry = TrashEntry.objects.create(
            user=by, path=show_path(parts), is_folder=is_folder, size_bytes=size_bytes
        )
        try:
            move_new(folder, name, space.trash, str(entry.pk))
        except OSError:
            entry.delete()
            raise
    return entry


def trash_for(by: User, space: Space, parts: Parts) -> TrashEntry:
    """Put what a finished upload replaces into the trash."""
    return _trash_one(by, space, parts)


def _get_entry(user: User, entry_id: uuid.UUID) -> TrashEntry:
    entry = TrashEntry.objects.filter(user=user, pk=entry_id).first()
    if entry is None:
        raise NotFound
    return entry


def _check_unchanged(folder: int, name: str, etag: str | None) -> int:
    """Return the mode that the new text is to have."""
    try:
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError as error:
        if etag is None:
            return 0o644
        raise Changed("The file is gone: save it under a new name.") from error
    if etag is None:
        raise Conflict("path: this name is taken here.", field="path", code="name_taken")
    if not stat.S_ISREG(info.st_mode):
        raise BadInput("path: this is not a regular file.", field="path", code="not_a_file")
    if etag_of(info) != etag:
        raise Changed("Somebody wrote this file after you opened it: look at theirs first.")
    return stat.S_IMODE(info.st_mode)


def _forget(folder: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)
