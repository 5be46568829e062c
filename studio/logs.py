"""How the studio logs: one JSON object a line, its own and its libraries' alike."""

from typing import Any

import structlog

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def start_logs() -> None:
    """Lead structlog's lines into the standard library's handlers."""
    structlog.configure(
        processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def describe_logs(*, to: str, level: str) -> dict[str, Any]:
    """Return Django's LOGGING: into the file `to`, where one is named, else to standard error."""
    handler = (
        {"class": "logging.handlers.WatchedFileHandler", "filename": to, "delay": True}
        if to
        else {"class": "logging.StreamHandler"}
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    structlog.processors.JSONRenderer(),
                ],
                "foreign_pre_chain": _SHARED,
            }
        },
        "handlers": {"out": {**handler, "formatter": "json"}},
        "root": {"handlers": ["out"], "level": level},
        "loggers": {
            "django.request": {"level": "ERROR"},
            "uvicorn.access": {"level": "WARNING"},
            "httpx": {"level": "WARNING"},  # it logs addresses whole, signatures and all
            "asyncssh": {"level": "WARNING"},
        },
    }
