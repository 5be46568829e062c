"""How much of the disk a container's own layer may take, as far as the engine's storage can say."""

from pathlib import Path
from typing import Any

_QUOTA_OPTIONS = {"prjquota", "pquota"}


def tell_layer_option(info: dict[str, Any], image_bytes: int, num_bytes: int) -> dict[str, str]:
    """Return the engine's option that limits a layer; empty where its storage has no limits.

    `info` is what the engine says of itself.
    """
    driver = info["Driver"]
    if driver == "btrfs":  # a container is a snapshot: the image counts
        return {"size": str(image_bytes + num_bytes)}
    if driver == "zfs" or (driver == "overlay2" and _has_project_quotas(info)):
        return {"size": str(num_bytes)}
    return {}


def can_limit_layers(info: dict[str, Any]) -> bool:
    """Say whether the engine's storage can limit layers at all."""
    return bool(tell_layer_option(info, 0, 1))


def _has_project_quotas(info: dict[str, Any]) -> bool:
    """Say whether the engine's data are on XFS that was mounted with project quotas."""
    if dict(info.get("DriverStatus") or []).get("Backing Filesystem") != "xfs":
        return False
    root, best = Path(info["DockerRootDir"]), ("", set[str]())
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, rest = line.partition(" - ")
        point = fields.split()[4]
        if root.is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, set(rest.split()[2].split(",")))
    return bool(_QUOTA_OPTIONS & best[1])
