"""Removes bytes that no commit names any more."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from studio.core import audit
from studio.hub.models import Blob
from studio.hub.storage import get_store

_SPARED = timedelta(days=1)  # what came in lately may belong to a commit that is on its way


def sweep_blobs() -> int:
    """Delete unnamed bytes that nobody stored within a day; return how many files.

    A row is locked while its bytes go, so that whoever stores the same bytes waits and stores anew.
    """
    old = Blob.objects.filter(files=None, stored_at__lt=timezone.now() - _SPARED)
    count = 0
    for sha256 in list(old.values_list("sha256", flat=True)):
        with transaction.atomic():
            blob = Blob.objects.select_for_update().filter(sha256=sha256).first()
            if blob is None or blob.files.exists() or blob.stored_at > timezone.now() - _SPARED:
                continue
            blob.delete()
            get_store().delete(sha256)
            count += 1
    if count:
        audit.record("hub.swept", actor=None, subject="blobs", count=count)
    return count
