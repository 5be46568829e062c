"""Uses of models that the database was not there to take: kept on disk, written when it is back.

One file for each below the data directory, named by its request, so that writing it again changes
nothing. The control worker writes them with its settling (decision 058).
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError
from django.utils import timezone

from studio.accounts.models import User
from studio.serving.metering import Asked, Measured, record_use
from studio.serving.models import ApiKey, UseState

log = structlog.get_logger(__name__)

_AWAY = (OperationalError, InterfaceError)


def note_use(*, asked: Asked, measured: Measured) -> None:
    """Write a use down; with the database away, keep it for later."""
    try:
        record_use(asked=asked, measured=measured)
    except _AWAY as error:
        log.warning("use.kept", request=str(asked.request_key), error=str(error))
        _keep(asked, measured)


def write_kept_uses() -> int:
    """Write down what was kept and return how many that were; the database must be there.

    What cannot be written is set aside under another ending, for a person to look at.
    """
    return sum(_write(path) for path in _list_kept())


def _get_folder() -> Path:
    return Path(settings.DATA_DIR) / "uses"


def _list_kept() -> Iterator[Path]:
    folder = _get_folder()
    if folder.is_dir():
        yield from sorted(folder.glob("*.json"))


def _keep(asked: Asked, measured: Measured) -> None:
    kept: dict[str, Any] = {
        "request_key": str(asked.request_key),
        "user": asked.user.pk,
        "model": asked.model,
        "deployment": str(asked.deployment_id),
        "api_key": asked.api_key.pk if asked.api_key else None,
        "at": timezone.now().isoformat(),
        "measured": asdict(measured),
    }
    folder = _get_folder()
    draft = folder / f".{asked.request_key}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with draft.open("w") as file:
            json.dump(kept, file)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(folder / f"{asked.request_key}.json")
    except OSError as error:  # the log is the last to know
        log.error("use.lost", error=str(error), **kept)


def _write(path: Path) -> bool:
    try:
        kept = json.loads(path.read_bytes())
        user = User.objects.filter(pk=kept["user"]).first()
        if user is not None:
            record_use(
                asked=_read_asked(kept, user),
                measured=_read_measured(kept["measured"]),
                at=datetime.fromisoformat(kept["at"]),
            )
    except FileNotFoundError:  # another has written it
        return False
    except _AWAY:
        raise
    except (ValueError, LookupError, TypeError, DatabaseError):
        log.exception("use.odd", path=str(path))
        path.rename(path.with_suffix(".odd"))
        return False
    path.unlink(missing_ok=True)
    return user is not None


def _read_asked(kept: dict[str, Any], user: User) -> Asked:
    return Asked(
        user=user,
        model=kept["model"],
        deployment_id=UUID(kept["deployment"]),
        api_key=ApiKey.objects.filter(pk=kept["api_key"]).first(),
        request_key=UUID(kept["request_key"]),
    )


def _read_measured(kept: dict[str, Any]) -> Measured:
    return Measured(**{**kept, "state": UseState(kept["state"])})
