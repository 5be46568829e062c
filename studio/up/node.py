"""The five parts of a node, and a parent for them alone: the command of a node's container.

    ATHANOR_STUDIO_URL=... ATHANOR_NODE_TOKEN_FILE=... ATHANOR_BROKER_URL=... ATHANOR_NODE_NAME=...
    ATHANOR_NODE_DIR=... python -m studio.up.node

It loads nothing else of the studio. When a container ends, its runs end with it; the studio then
calls them lost and refunds them.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from studio.up.parent import AlreadyRunning, Parent, Part, hold_data_dir
from studio.up.places import PYTHON, Places, make_folders

CELERY = (PYTHON, "-m", "celery")
# A worker that talks to no other worker: nodes know only their queue.
ALONE = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")


def list_node_parts(name: str, env: dict[str, str]) -> list[Part]:
    """Return the parts of the node of this name."""
    worker = (*CELERY, "-A", "workers.app", "worker", "-Q", f"node.{name}", "-n", f"node@{name}")
    return [
        Part("worker", (*worker, *ALONE), env),
        Part("supervisor", (PYTHON, "-m", "workers", "supervise"), env),
        Part("reporter", (PYTHON, "-m", "workers", "report"), env),
        Part("keeper", (PYTHON, "-m", "workers", "keep"), env),
        Part("machines", (PYTHON, "-m", "workers", "machines"), env),
    ]


async def _live(places: Places, name: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    parent = Parent(places, verbose=True)
    for part in list_node_parts(name, dict(os.environ)):
        parent.start(part)
    await stop.wait()
    await parent.stop()


def main() -> int:
    name, folder = os.environ.get("ATHANOR_NODE_NAME"), os.environ.get("ATHANOR_NODE_DIR")
    if not name or not folder:
        print("athanor: set ATHANOR_NODE_NAME and ATHANOR_NODE_DIR.", file=sys.stderr)
        return 2
    places = Places(data_dir=Path(folder).resolve(), port=0)
    make_folders(places)
    try:
        with hold_data_dir(places):
            asyncio.run(_live(places, name))
    except AlreadyRunning as error:
        print(f"athanor: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
