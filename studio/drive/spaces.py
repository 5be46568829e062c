"""Where a person's files lie: a home, with drafts and trash beside it and never within it.

`<DRIVE_DIR>/<user id>/{home,drafts,trash}` share one file system and one quota, so that a finished
draft is renamed into the home whole, and nothing in a machine that mounts the home can reach a
draft or the trash.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from studio.accounts.models import User
from studio.drive.errors import DriveFull
from studio.drive.folders import open_folder, walk
from studio.drive.models import DriveQuota
from studio.drive.quota import get_backend

_MEASURED_EVERY = timedelta(seconds=30)
_PARTS = ("home", "drafts", "trash")


@dataclass(frozen=True)
class Space:
    """A person's folders, open."""

    home: int
    drafts: int
    trash: int


@dataclass(frozen=True)
class Use:
    """How much of a quota is used."""

    used_bytes: int
    quota_bytes: int

    @property
    def free_bytes(self) -> int:
        """Return what still fits."""
        return max(0, self.quota_bytes - self.used_bytes)


def home_path(user: User) -> Path:
    """Return the folder that a machine mounts as its person's home; it is made where missing."""
    return _make(user) / "home"


@contextmanager
def open_space(user: User) -> Iterator[Space]:
    """Give a person's folders, made where they are missing."""
    path = _make(user)
    with ExitStack() as stack:
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, root)
        yield Space(*(stack.enter_context(open_folder(root, [part], make=True)) for part in _PARTS))


def get_use(user: User) -> Use:
    """Return how full a drive is: from the file system where it counts, else from a walk."""
    path = _make(user)
    row, _ = DriveQuota.objects.get_or_create(user=user)
    quota = _quota_of(row)
    used = get_backend().get_used_bytes(path)
    if used is None:
        now = timezone.now()
        if row.measured_at is None or row.measured_at < now - _MEASURED_EVERY:
            row.used_bytes, row.measured_at = _measure(path), now
            row.save(update_fields=["used_bytes", "measured_at"])
        used = row.used_bytes
    return Use(used_bytes=used, quota_bytes=quota)


def check_room(user: User, num_bytes: int) -> None:
    """Refuse bytes that do not fit.

    Raises:
        DriveFull: they do not; the numbers are in it.
    """
    use = get_use(user)
    if num_bytes > use.free_bytes:
        raise DriveFull(
            f"{num_bytes} bytes do not fit into the {use.free_bytes} that are free on your drive:"
            " delete something or empty the trash, then try again.",
            needed_bytes=num_bytes,
            free_bytes=use.free_bytes,
        )


def note_use(user: User, num_bytes: int) -> None:
    """Count bytes that came or went since the last measure."""
    DriveQuota.objects.filter(user=user).update(used_bytes=F("used_bytes") + num_bytes)


def apply_quota(user: User) -> None:
    """Tell the file system a person's quota."""
    row, _ = DriveQuota.objects.get_or_create(user=user)
    get_backend().set_limit(_make(user), _quota_of(row))


def _quota_of(row: DriveQuota) -> int:
    return settings.DRIVE_QUOTA_BYTES if row.quota_bytes is None else row.quota_bytes


def _make(user: User) -> Path:
    path = Path(settings.DRIVE_DIR) / str(user.pk)
    if not (path / "trash").is_dir():
        row, _ = DriveQuota.objects.get_or_create(user=user)
        backend = get_backend()
        if not path.is_dir():
            backend.make_folder(path)
        for part in _PARTS:
            (path / part).mkdir(mode=0o700, exist_ok=True)
        if settings.DRIVE_OWNER is not None:
            for folder in (path, *(path / part for part in _PARTS)):
                os.chown(folder, settings.DRIVE_OWNER, settings.DRIVE_OWNER)
        backend.set_limit(path, _quota_of(row))
    return path


def _measure(path: Path) -> int:
    root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return sum(one.info.st_blocks * 512 for one in walk(root) if not one.is_folder)
    finally:
        os.close(root)
