"""The node's cache of models and datasets: a size limit, and the least recently used goes first.

The cache is huggingface_hub's, which fetches a file once however many runs wait for it. What a live
run or a waiting order names is never removed; nor is anything of a repo that a run may yet fetch.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog
from huggingface_hub import CachedRepoInfo, scan_cache_dir
from huggingface_hub.errors import CacheNotFound

from engine.specs import ScriptSpec, split_ref
from workers.orders import RunOrder

log = structlog.get_logger()

GIB = 2**30
_REFS = {"model": "model", "dataset": "dataset"}  # a spec's field, and what kind of repo it names
_STAMPS = ".used"
_GONE = ".gone-"
_ARRIVING_S = 3600.0  # a server fetches adapters that no order names


@dataclass(frozen=True)
class Usage:
    """What the cache holds."""

    size_bytes: int
    limit_bytes: int
    num_repos: int


class NodeCache:
    """One node's cache."""

    def __init__(self, path: Path, limit_bytes: int = 0) -> None:
        """Use a folder; without a limit, half of its disk is one."""
        self._path = path
        self._limit_bytes = limit_bytes

    @property
    def limit_bytes(self) -> int:
        """Return how much the cache may hold."""
        return self._limit_bytes or shutil.disk_usage(self._path).total // 2

    def shrink(self, list_in_use: Callable[[], set[tuple[str, str]]]) -> Usage:
        """Remove what was used longest ago until the rest fits; return what the cache holds.

        `list_in_use` gives kinds and ids of repos that stay. They count as used now. It is asked
        again before each removal: an order may come at any moment.
        """
        self._tidy()
        self._stamp(list_in_use())
        repos = self._scan()
        total, limit = sum(repo.size_on_disk for repo in repos), self.limit_bytes
        for repo in sorted(repos, key=self._last_used):
            if total <= limit:
                break
            is_arriving = time.time() - repo.last_modified < _ARRIVING_S
            if is_arriving or (repo.repo_type, repo.repo_id) in list_in_use():
                continue
            self._remove(repo.repo_path)
            total -= repo.size_on_disk
            log.info("cache_evicted", repo=repo.repo_id, size_bytes=repo.size_on_disk)
        if total > limit:
            log.warning("cache_over_limit", size_bytes=total, limit_bytes=limit)
        return Usage(total, limit, sum(repo.repo_path.exists() for repo in repos))

    def _remove(self, folder: Path) -> None:
        """Take a repo away in one step: a run that comes now finds it gone, not half of it."""
        gone = folder.with_name(f"{_GONE}{folder.name}")
        folder.rename(gone)
        shutil.rmtree(gone)

    def _tidy(self) -> None:
        for folder in self._path.glob(f"{_GONE}*"):
            shutil.rmtree(folder)

    def _scan(self) -> list[CachedRepoInfo]:
        try:
            return list(scan_cache_dir(self._path).repos)
        except CacheNotFound:
            return []

    def _stamp(self, in_use: Iterable[tuple[str, str]]) -> None:
        """Note when a repo was in use: many disks do not keep when a file was read."""
        stamps = self._path / _STAMPS
        stamps.mkdir(mode=0o700, exist_ok=True)
        for kind, repo_id in in_use:
            (stamps / _stamp_name(kind, repo_id)).touch()

    def _last_used(self, repo: CachedRepoInfo) -> float:
        stamp = self._path / _STAMPS / _stamp_name(repo.repo_type, repo.repo_id)
        used = stamp.stat().st_mtime if stamp.exists() else 0.0
        return max(used, repo.last_modified, min(repo.last_accessed, time.time()))


def list_repos_of(orders: Iterable[RunOrder | None]) -> set[tuple[str, str]]:
    """Return kinds and ids of the repos that orders name."""
    found: set[tuple[str, str]] = set()
    for order in orders:
        for name, kind in _REFS.items():
            ref = getattr(order.spec, name, None) if order else None
            if isinstance(ref, str) and not ref.startswith((".", "/")):
                found.add((kind, split_ref(ref)[0]))
        if order is not None and isinstance(order.spec, ScriptSpec):
            found |= {(kind, split_ref(ref)[0]) for kind, ref in order.spec.list_inputs().values()}
    return found


def _stamp_name(kind: str, repo_id: str) -> str:
    return f"{kind}--{repo_id.replace(os.sep, '--')}"
