"""Removes bytes that no commit names any more, and what never became a file.

A row is locked while its bytes go, so that whoever stores the same bytes waits and stores anew. An
object of the storage without a row gets one first, and then goes the way of all others.
"""

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from studio.core import audit
from studio.hub.lfs import waiting_folder
from studio.hub.models import Blob, BlobClaim, XetFile, Xorb
from studio.hub.remote import imports_folder
from studio.hub.storage import Shelf, StoredObject, get_store, staged_folder
from studio.hub.xet.services import KEPT_DAYS

SPARED_DAYS = 1.0
"""What came in lately may belong to a commit that is on its way."""
_BATCH = 500
_IMPORT_DAYS = 7  # an import that broke off may be taken up so long


@dataclass(frozen=True)
class _Before:
    """What is older goes."""

    blobs: datetime
    xorbs: datetime


def sweep_hub(*, spared_days: float = SPARED_DAYS, xorb_days: float = KEPT_DAYS) -> int:
    """Delete what nobody needs any more; return how many objects and files went.

    A xorb that no file needs stays for three weeks: clients remember it that long and would refer
    to it instead of sending its chunks.
    """
    now = timezone.now()
    before = _Before(now - timedelta(days=spared_days), now - timedelta(days=xorb_days))
    count = _sweep_arriving(staged_folder(), before.blobs)
    count += _sweep_arriving(waiting_folder(), before.blobs)
    count += _sweep_arriving(imports_folder(), now - timedelta(days=_IMPORT_DAYS))
    BlobClaim.objects.filter(claimed_at__lt=before.blobs).delete()
    _adopt_orphans("blobs", before.blobs)
    _adopt_orphans("xorbs", before.blobs)
    count += _sweep_blobs(before.blobs) + _sweep_files() + _sweep_xorbs(before.xorbs)
    if count:
        audit.record("hub.swept", actor=None, subject="blobs", count=count)
    return count


def _sweep_blobs(before: datetime) -> int:
    unnamed = Blob.objects.filter(files=None, claims=None, stored_at__lt=before)
    return sum(_drop_blob(sha256, before) for sha256 in list(unnamed.values_list("pk", flat=True)))


@transaction.atomic
def _drop_blob(sha256: str, before: datetime) -> int:
    blob = Blob.objects.select_for_update().filter(sha256=sha256).first()
    if blob is None or blob.stored_at > before or blob.files.exists() or blob.claims.exists():
        return 0
    blob.delete()
    get_store().delete(sha256)
    return 1


def _sweep_files() -> int:
    """Delete the files of chunks that no blob is any more."""
    unnamed = list(XetFile.objects.filter(blobs=None).values_list("pk", flat=True))
    return sum(_drop_file(name) for name in unnamed)


@transaction.atomic
def _drop_file(name: str) -> int:
    file = XetFile.objects.select_for_update().filter(hash=name).first()
    if file is None or file.blobs.exists():
        return 0
    file.delete()
    return 1


def _sweep_xorbs(before: datetime) -> int:
    unused = Xorb.objects.filter(uses=None, stored_at__lt=before)
    return sum(_drop_xorb(name, before) for name in list(unused.values_list("pk", flat=True)))


@transaction.atomic
def _drop_xorb(name: str, before: datetime) -> int:
    xorb = Xorb.objects.select_for_update().filter(hash=name).first()
    if xorb is None or xorb.stored_at > before or xorb.uses.exists():
        return 0
    xorb.delete()
    get_store("xorbs").delete(name)
    return 1


def _adopt_orphans(shelf: Shelf, before: datetime) -> None:
    """Give every old object without a row one: a part died between the storage and the database."""
    old = (each for each in get_store(shelf).list_objects() if each.stored_at < before)
    while batch := list(islice(old, _BATCH)):
        known = _find_known(shelf, [each.name for each in batch])
        orphans = [each for each in batch if each.name not in known]
        _adopt(shelf, orphans)
        if shelf == "blobs":
            _drop_doubles(each.name for each in batch if each.name in known)


def _find_known(shelf: Shelf, names: list[str]) -> set[str]:
    table = Blob if shelf == "blobs" else Xorb
    return set(table._default_manager.filter(pk__in=names).values_list("pk", flat=True))


def _adopt(shelf: Shelf, orphans: Iterable[StoredObject]) -> None:
    if shelf == "blobs":
        blobs = [
            Blob(sha256=each.name, git_oid="0" * 40, size_bytes=0, stored_at=each.stored_at)
            for each in orphans
        ]
        Blob.objects.bulk_create(blobs, ignore_conflicts=True)
    else:
        xorbs = [Xorb(hash=each.name, size_bytes=0, stored_at=each.stored_at) for each in orphans]
        Xorb.objects.bulk_create(xorbs, ignore_conflicts=True)


def _drop_doubles(names: Iterator[str]) -> None:
    """Delete the whole bytes of files that have become chunks since."""
    for name in Blob.objects.filter(pk__in=list(names), xet__isnull=False).values_list(
        "pk", flat=True
    ):
        with transaction.atomic():
            Blob.objects.select_for_update().get(pk=name)
            get_store().delete(name)


def _sweep_arriving(folder: Path, before: datetime) -> int:
    """Delete what began to arrive and was not heard of for a day."""
    count = 0
    for path in folder.glob("*"):
        try:
            newest = max(each.stat().st_mtime for each in [path, *path.glob("*")])
        except FileNotFoundError:  # it has arrived
            continue
        if newest < before.timestamp():
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            count += 1
    return count
