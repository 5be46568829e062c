"""ext4 and XFS: each person's folder is a project of the disk's project quota."""

import os
import shutil
from pathlib import Path

from studio.core.sentences import say
from studio.drive.quota.base import QuotaBackend, find_mount, run

_FIRST_PROJECT = 1_000_000  # project ids below it are the administrator's own
_ON = {"prjquota", "pquota"}


class ProjectQuota(QuotaBackend):
    """A write over the limit fails with EDQUOT (XFS may say ENOSPC), by whatever mount."""

    name = "project"

    @classmethod
    def why_not(cls, folder: Path) -> str | None:
        """Say why not: another file system, a mount without it, no tool, no right."""
        point, kind, options = find_mount(folder)
        if kind not in {"ext4", "xfs"}:
            return say("quota_not_project")
        if not _ON & set(options.split(",")):
            return say("quota_project_off", kind=kind, point=point)
        tools = ("chattr", "setquota", "repquota") if kind == "ext4" else ("xfs_quota",)
        if os.getuid() or not all(shutil.which(tool) for tool in tools):
            return say("quota_project_tools", kind=kind, tools=", ".join(tools))
        return None

    def make_folder(self, path: Path) -> None:
        """Make a folder whose files, and theirs, belong to its project."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        point, kind, _ = find_mount(path)
        if kind == "xfs":
            project = f"project -s -p {path} {_project(path)}"
            run("xfs_quota", "-x", "-c", project, point)
        else:
            run("chattr", "+P", "-p", str(_project(path)), str(path))

    def set_limit(self, path: Path, num_bytes: int) -> None:
        """Set the hard limit in bytes; the number of files stays free."""
        point, kind, _ = find_mount(path)
        kib = -(-num_bytes // 1024)
        if kind == "xfs":
            run("xfs_quota", "-x", "-c", f"limit -p bhard={kib}k {_project(path)}", point)
        else:
            run("setquota", "-P", str(_project(path)), "0", str(kib), "0", "0", point)

    def get_used_bytes(self, path: Path) -> int | None:
        """Read the project's line of the disk's report."""
        point, kind, _ = find_mount(path)
        name = f"#{_project(path)}"
        if kind == "xfs":
            said = run("xfs_quota", "-x", "-c", "report -p -b -N -n", point)
        else:
            said = run("repquota", "-P", "-n", "-O", "csv", point).replace(",", " ")
        for line in said.splitlines():
            words = line.split()
            if words and words[0] == name:
                number = words[1] if kind == "xfs" else words[3]
                return int(number) * 1024
        return None


def _project(path: Path) -> int:
    return _FIRST_PROJECT + int(path.name)
