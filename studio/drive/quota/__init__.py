"""Quotas that the file system itself keeps, behind one interface; the disk decides which."""

from functools import lru_cache
from pathlib import Path

from django.conf import settings

from studio.drive.quota.base import QuotaBackend
from studio.drive.quota.btrfs import BtrfsQuota
from studio.drive.quota.portal import PortalQuota
from studio.drive.quota.project import ProjectQuota

_BACKENDS: tuple[type[QuotaBackend], ...] = (BtrfsQuota, ProjectQuota)


def get_backend() -> QuotaBackend:
    """Return who keeps the quotas of the drive's disk, looked up once."""
    return find_backend(str(settings.DRIVE_DIR))


@lru_cache(maxsize=8)
def find_backend(folder: str) -> QuotaBackend:
    """Return the first backend that a folder's disk can have."""
    reasons = []
    for backend in _BACKENDS:
        reason = backend.why_not(Path(folder))
        if reason is None:
            return backend()
        reasons.append(reason)
    return PortalQuota(tuple(reasons))
