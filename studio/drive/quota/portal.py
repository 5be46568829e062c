"""No quota of the file system: only the studio's own doors count."""

from pathlib import Path

from studio.drive.quota.base import QuotaBackend


class PortalQuota(QuotaBackend):
    """Checks at upload, copy and unzip; a write through a mount is seen when it is measured."""

    name = "none"
    is_enforced = False

    def __init__(self, reasons: tuple[str, ...] = ()) -> None:
        """Remember why there is nothing better."""
        self.reasons = reasons

    @classmethod
    def why_not(cls, folder: Path) -> str | None:
        """It can be had anywhere."""
        return None

    def make_folder(self, path: Path) -> None:
        """Make a plain folder."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def set_limit(self, path: Path, num_bytes: int) -> None:
        """Do nothing: there is nobody to tell."""

    def get_used_bytes(self, path: Path) -> int | None:
        """Nobody counts."""
        return None
