"""What an operator sees of the drives: who keeps the quotas, and one person's."""

import os
from typing import Any

from django.conf import settings

from studio.accounts.models import User
from studio.core.sentences import find_told
from studio.drive.models import DriveQuota
from studio.drive.quota import get_backend
from studio.drive.spaces import get_use


def get_health() -> dict[str, Any]:
    """Return whether the disk keeps the quotas, and why not."""
    backend = get_backend()
    disk = os.statvfs(settings.DRIVE_DIR)
    return {
        "backend": backend.name,
        "is_enforced": backend.is_enforced,
        "reasons": [{"message": why, "told": find_told(why)} for why in backend.reasons],
        "default_quota_bytes": settings.DRIVE_QUOTA_BYTES,
        "free_bytes": disk.f_bavail * disk.f_frsize,
    }


def get_quota(user: User) -> dict[str, Any]:
    """Return a person's quota and use."""
    use = get_use(user)
    return {
        "username": user.username,
        "quota_bytes": use.quota_bytes,
        "own_quota_bytes": DriveQuota.objects.get(user=user).quota_bytes,
        "used_bytes": use.used_bytes,
    }
