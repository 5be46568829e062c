"""Services that keep bytes: one file, or the many small ones of a commit at the price of few."""

from collections.abc import Callable, Sequence
from typing import BinaryIO

from django.db import transaction
from django.utils import timezone

from studio.hub.models import Blob
from studio.hub.storage import StagedBlob, get_store, measure, stage, sync_all
from studio.hub.xet.ingest import ingest
from studio.hub.xet.services import register_file

LARGE_BYTES = 2**20
"""A file of so many bytes or more is kept as chunks."""


def store_blob(*, source: BinaryIO, on_bytes: Callable[[int], None] | None = None) -> Blob:
    """Keep some bytes and return what they are called; the same bytes are kept once.

    A large file is kept as chunks, of which only those are stored that are not here yet.

    Raises:
        DiskFull: there is no room.
    """
    if measure(source) >= LARGE_BYTES:
        return register_file(by=None, file=ingest(source, on_bytes=on_bytes))
    return _keep([stage(source, on_bytes=on_bytes)])[0]


def store_small_blobs(sources: Sequence[BinaryIO]) -> list[Blob]:
    """Keep many small files; all are on the disk for certain when this returns.

    One by one each waits for the disk twice. Here they wait together, and before the database is
    held.

    Raises:
        DiskFull: there is no room.
    """
    staged: list[StagedBlob] = []
    try:
        for source in sources:
            staged.append(stage(source, is_synced=False))
        sync_all([each.path for each in staged])
    except BaseException:
        for each in staged:
            each.path.unlink(missing_ok=True)
        raise
    return _keep(staged)


def _keep(staged: list[StagedBlob]) -> list[Blob]:
    try:
        with transaction.atomic():
            blobs = _claim_rows(staged)
            # Those of others have chunks already.
            whole = {each.sha256: each.path for each in staged if not blobs[each.sha256].xet_id}
            get_store().place_many(whole)
    finally:
        for each in staged:
            each.path.unlink(missing_ok=True)
    return [blobs[each.sha256] for each in staged]


def _claim_rows(staged: list[StagedBlob]) -> dict[str, Blob]:
    """Return the rows of these bytes, locked against a sweep, made where there are none.

    In the order of their names: of two that keep the same bytes, one waits for the other.
    """
    now = timezone.now()
    wanted = {each.sha256: each for each in sorted(staged, key=lambda each: each.sha256)}
    rows = [
        Blob(sha256=each.sha256, git_oid=each.git_oid, size_bytes=each.size_bytes, stored_at=now)
        for each in wanted.values()
    ]
    Blob.objects.bulk_create(rows, ignore_conflicts=True, batch_size=200)
    locked = Blob.objects.select_for_update().order_by("sha256")
    blobs = {blob.sha256: blob for blob in locked.filter(sha256__in=list(wanted))}
    older = [blob for blob in blobs.values() if blob.stored_at != now]
    Blob.objects.filter(pk__in=[blob.pk for blob in older]).update(stored_at=now)
    for blob in older:
        _correct(blob, wanted[blob.pk])
    return blobs


def _correct(blob: Blob, staged: StagedBlob) -> None:
    """Say of a row what is known now: a sweep may have found bytes without one, and made it."""
    known = staged.git_oid, staged.size_bytes
    if blob.xet_id is None and (blob.git_oid, blob.size_bytes) != known:
        blob.git_oid, blob.size_bytes = known
        blob.save(update_fields=["git_oid", "size_bytes"])
