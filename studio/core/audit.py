"""Who did what to what: one structured log line per write, searchable by actor and subject."""

from typing import Any

import structlog

log = structlog.get_logger("studio.audit")


def record(action: str, *, actor: Any, subject: str, **details: Any) -> None:
    """Write one audit line. `actor` is a user, or None for the platform itself."""
    name = getattr(actor, "username", None) or "platform"
    log.info(action, actor=name, subject=subject, **details)
