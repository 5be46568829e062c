"""What nodes of this computer have mounted that are gone for good: their folders were deleted.

A node that ends leaves mounted what running machines need; the next start of the same node takes it
up again. This is for the node that has no next start.
"""

import shutil
from pathlib import Path

import structlog

from workers.machines.binds import list_mounted, unbind

log = structlog.get_logger()

_NOTE = "node"


def note_node(folder: Path, node_dir: Path) -> None:
    """Write down in a node's folder in memory whose it is."""
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    (folder / _NOTE).write_text(str(node_dir), encoding="utf-8")


def sweep_leftovers(beside: Path) -> None:
    """Let go of the folders beside a node's own whose nodes are gone for good."""
    for note in beside.parent.glob(f"*/{_NOTE}"):
        folder, node_dir = note.parent, Path(note.read_text(encoding="utf-8"))
        if folder == beside or node_dir.is_dir():
            continue
        for point in reversed(list_mounted(folder)):  # what lies upon another was mounted later
            unbind(point)
        if left := list_mounted(folder):
            log.warning("leftovers_stay", folder=str(folder), num=len(left))
            continue
        shutil.rmtree(folder, ignore_errors=True)
        log.info("leftovers_swept", folder=str(folder), node_dir=str(node_dir))
