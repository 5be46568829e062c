"""The imports' runs, and their periodic ones."""

import structlog
from celery import shared_task
from django.db import DatabaseError

from studio.importing import running

log = structlog.get_logger(__name__)


@shared_task
def run_import(import_id: str) -> bool:
    """Fetch and store."""
    try:
        return running.run_import(import_id)
    except DatabaseError:
        raise  # it falls silent, and goes on when the database is back
    except Exception:
        log.exception("import.failed", import_id=import_id)
        running.fail_import(import_id)
        return True


@shared_task
def tend_imports() -> int:
    """Send on what waits, and what died with its worker."""
    return running.tend_imports()


@shared_task
def sweep_imports() -> int:
    """Remove what ended imports have left."""
    return running.sweep_folders()
