"""Where imports put what they fetch, one folder for each, until the hub has it."""

import shutil
from pathlib import Path
from uuid import UUID

from django.conf import settings


def folder_of(import_id: UUID) -> Path:
    """Return an import's folder, which may not be there."""
    return _root() / str(import_id)


def remove_folder(import_id: UUID) -> None:
    """Let go of what an import has fetched."""
    shutil.rmtree(folder_of(import_id), ignore_errors=True)


def list_folders() -> dict[UUID, Path]:
    """Return every folder by the id of its import."""
    root = _root()
    return {UUID(path.name): path for path in root.iterdir()} if root.is_dir() else {}


def _root() -> Path:
    return Path(settings.HUB_DIR) / "importing"
