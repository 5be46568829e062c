"""btrfs: each person's folder is a subvolume with a quota group of its own."""

import os
import re
import shutil
from pathlib import Path

from studio.core.sentences import say
from studio.drive.quota.base import QuotaBackend, find_mount, run

_GROUP = re.compile(r"^0/(\d+)\s+(\d+)\s+(\d+)", re.MULTILINE)


class BtrfsQuota(QuotaBackend):
    """A write over the limit fails with EDQUOT, whoever writes, by whatever mount."""

    name = "btrfs"

    @classmethod
    def why_not(cls, folder: Path) -> str | None:
        """Say why not: another file system, no tool, no right, or quotas that are off."""
        if find_mount(folder)[1] != "btrfs":
            return say("quota_not_btrfs")
        if os.getuid() or not shutil.which("btrfs"):
            return say("quota_btrfs_tools")
        try:
            run("btrfs", "quota", "enable", str(folder))
            run("btrfs", "qgroup", "show", str(folder))
        except OSError as error:
            return say("quota_btrfs_off", words=error)
        return None

    def make_folder(self, path: Path) -> None:
        """Make a subvolume."""
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            run("btrfs", "subvolume", "create", str(path))
            path.chmod(0o700)

    def set_limit(self, path: Path, num_bytes: int) -> None:
        """Limit what the subvolume refers to."""
        run("btrfs", "qgroup", "limit", str(num_bytes), str(path))

    def get_used_bytes(self, path: Path) -> int | None:
        """Ask the quota group; what was just written shows after the next commit of the disk."""
        said = run("btrfs", "qgroup", "show", "--raw", "-f", str(path))
        match = _GROUP.search(said)
        return int(match[2]) if match else None
