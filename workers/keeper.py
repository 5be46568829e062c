"""The keeper: fetches what /share shall hold, and bounds the node's cache.

It remembers nothing that the node's folder does not say: it may be killed at any moment, and a
fetch goes on with the bytes it has. Runs do without it.
"""

import asyncio
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import structlog
from huggingface_hub import snapshot_download
from tqdm import tqdm  # type: ignore[import-untyped]

from workers.cache import GIB, NodeCache, Usage, list_repos_of
from workers.config import NodeConfig
from workers.errors import StudioAway, StudioRefused
from workers.node_dir import NodeDir
from workers.orders import ShareOrder, ShareProgress, ShareReport, ShareState
from workers.share import ShareDir
from workers.studio_client import StudioClient

log = structlog.get_logger()

REPORT_EVERY_S = 10.0
SHRINK_EVERY_S = 60.0
TRY_AGAIN_S = 60.0
_SPARE_BYTES = GIB  # what a fetch leaves free on the disk
T = TypeVar("T")


class Keeper:
    """One node's keeper."""

    def __init__(self, config: NodeConfig, client: StudioClient) -> None:
        """Take what it works with; `run` begins."""
        self._node = NodeDir(config.node_dir)
        self._share = ShareDir(self._node.share)
        self._cache = NodeCache(self._node.cache, config.cache_gib * GIB)
        self._config = config
        self._client = client
        self._wanted: list[ShareOrder] | None = None  # None until the studio has said
        self._states: dict[ShareOrder, ShareState] = {}
        self._fetching: ShareOrder | None = None
        self._usage = Usage(0, 0, 0)
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled."""
        self._node.create()
        self._share.create()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report_forever())
            group.create_task(self._share_forever())
            group.create_task(self._shrink_forever())

    async def _report_forever(self) -> None:
        while True:
            try:
                await self.report_once()
            except (StudioAway, StudioRefused) as error:
                log.warning("share_report_failed", error=str(error))
            await asyncio.sleep(REPORT_EVERY_S)

    async def report_once(self) -> None:
        """Say what is here, and hear what shall be.

        Raises:
            StudioAway, StudioRefused: as they say.
        """
        report = ShareReport(
            cache_bytes=self._usage.size_bytes,
            cache_limit_bytes=self._usage.limit_bytes,
            share=[self._state_of(order) for order in self._wanted or ()],
        )
        body = report.model_dump_json().encode()
        answer = await self._client.report_share(self._config.node_token, body)
        if answer.share != self._wanted:
            self._wanted = answer.share
            self._news.set()

    async def _share_forever(self) -> None:
        while True:
            self._news.clear()
            try:
                await self.share_once()
            except OSError:  # a full disk, say
                log.exception("share_failed")
            try:
                await asyncio.wait_for(self._news.wait(), TRY_AGAIN_S)
            except TimeoutError:
                continue

    async def share_once(self) -> None:
        """Lay out what is wanted and not there, one repo after the other, and retire the rest."""
        for order in self._wanted or ():
            if not self._share.holds(order):
                await self._fetch(order)
        if self._wanted is not None:  # a studio that is away does not mean an empty share
            self._share.retire(self._wanted)
            self._states = {order: self._state_of(order) for order in self._wanted}

    async def _fetch(self, order: ShareOrder) -> None:
        free = shutil.disk_usage(self._node.share).free
        if free < order.size_bytes + _SPARE_BYTES:
            needs, has = (f"{size / GIB:.1f} GiB" for size in (order.size_bytes, free))
            message = f"It needs {needs} and {has} is free: make room on the node's disk."
            self._note(order, ShareProgress.WAITING, message=message)
            return
        self._note(order, ShareProgress.FETCHING)
        self._fetching = order
        try:
            snapshot = await _in_daemon(lambda: self._download(order))
            self._fetching = None
            self._share.lay_out(order, snapshot)
        except Exception as error:  # of any kind a client raises: the other repos are wanted still
            self._fetching = None
            log.warning("share_fetch_failed", repo=order.repo, error=str(error))
            said = " ".join(str(error).split())[:400]
            self._note(order, ShareProgress.FAILED, message=f"It cannot be fetched: {said}")
            return
        self._note(order, ShareProgress.READY, bytes_done=order.size_bytes)
        log.info("share_ready", repo=order.repo, sha=order.sha)

    def _download(self, order: ShareOrder) -> Path:
        path = snapshot_download(
            order.repo,
            repo_type=order.kind,
            revision=order.sha,
            endpoint=self._config.studio_url,
            token=self._config.node_token,
            cache_dir=self._node.cache,
            tqdm_class=self._make_bar(order),
        )
        return Path(path)

    def _make_bar(self, order: ShareOrder) -> type[tqdm]:
        keeper = self

        class _Bar(tqdm):  # type: ignore[misc]
            """Draws nothing and notes the bytes."""

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                kwargs.pop("name", None)
                self._counts_bytes = kwargs.get("unit") == "B"
                super().__init__(*args, **{**kwargs, "disable": False, "file": _Nowhere()})

            def display(self, *args: Any, **kwargs: Any) -> None:
                # A bar that a failed fetch left behind draws itself once more when it is collected.
                if self._counts_bytes and keeper._fetching == order:
                    keeper._note(order, ShareProgress.FETCHING, bytes_done=int(self.n))

        return _Bar

    async def _shrink_forever(self) -> None:
        while True:
            try:
                self._usage = await _in_daemon(lambda: self._cache.shrink(self.list_in_use))
            except OSError as error:  # removed in this moment, or not removable
                log.error("cache_sweep_failed", error=str(error))
            await asyncio.sleep(SHRINK_EVERY_S)

    def list_in_use(self) -> set[tuple[str, str]]:
        """Return kinds and ids of the repos that runs, orders and /share use."""
        shared = {(order.kind, order.repo) for order in self._wanted or ()}
        return shared | list_repos_of(self._node.read_live_orders())

    def _state_of(self, order: ShareOrder) -> ShareState:
        if self._share.holds(order):
            return _state(order, ShareProgress.READY, bytes_done=order.size_bytes)
        return self._states.get(order) or _state(order, ShareProgress.WAITING)

    def _note(self, order: ShareOrder, progress: ShareProgress, **rest: Any) -> None:
        self._states[order] = _state(order, progress, **rest)


def _state(
    order: ShareOrder, progress: ShareProgress, *, bytes_done: int = 0, message: str = ""
) -> ShareState:
    return ShareState(
        kind=order.kind,
        repo=order.repo,
        revision=order.sha,
        state=progress,
        bytes_done=min(bytes_done, order.size_bytes),
        bytes_total=order.size_bytes,
        message=message,
    )


async def _in_daemon(work: Callable[[], T]) -> T:
    """Run work in a thread that never holds the process back when it is told to end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def go() -> None:
        result, fault = None, None
        try:
            result = work()
        except Exception as error:
            fault = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, result, fault)

    threading.Thread(target=go, daemon=True).start()
    return await done


class _Nowhere:
    """A file that forgets."""

    def write(self, text: str) -> None:
        return

    def flush(self) -> None:
        return
