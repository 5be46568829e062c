"""How events are kept: log pieces as bytes with their offset and line, the rest as JSON."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

from engine.events import ArtifactEvent, Endpoint, Event, Log, Metric, Progress, StatusEvent
from engine.status import FINAL
from studio.jobs.hooks import get_listener
from studio.jobs.models import Run, RunEvent

_ROWS_PER_INSERT = 500
_PIECES_PER_READ = 64  # at most 64 * 64 KiB in memory
_ARTIFACTS_KEPT = 100


def apply_events(run: Run, events: Sequence[Event]) -> bool:
    """Store consecutive new events and bring the run's own fields up to them, unsaved.

    Status events are stored here and acted on by the caller. Returns whether more than the log
    changed.
    """
    rows = [_to_row(run, event) for event in events]
    RunEvent.objects.bulk_create(rows, batch_size=_ROWS_PER_INSERT)
    if events:
        run.next_seq = events[-1].seq + 1
    is_moved = False
    for event in events:
        is_moved |= _apply(run, event)
    return is_moved


def iterate_log(run: Run, *, from_seq: int = 0) -> Iterator[RunEvent]:
    """Yield the run's log pieces in order, few in memory at once."""
    while True:
        pieces = list(
            RunEvent.objects.filter(run=run, type="log", seq__gte=from_seq).order_by("seq")[
                :_PIECES_PER_READ
            ]
        )
        yield from pieces
        if len(pieces) < _PIECES_PER_READ:
            return
        from_seq = pieces[-1].seq + 1


def hash_log(run: Run) -> str:
    """Return the SHA-256 of the stored log bytes, read back from the database."""
    digest = hashlib.sha256()
    for piece in iterate_log(run):
        digest.update(bytes(piece.data or b""))
    return digest.hexdigest()


def _to_row(run: Run, event: Event) -> RunEvent:
    row = RunEvent(run=run, seq=event.seq, type=event.type, time=_finite(event.time))
    if isinstance(event, Log):
        row.data = event.to_bytes()
        row.byte_offset, row.first_line = run.log_bytes, run.log_newlines
        run.log_bytes += len(row.data)
        run.log_newlines += row.data.count(b"\n")
        run.log_ends_line = row.data.endswith(b"\n") if row.data else run.log_ends_line
    else:
        row.body = storable(event.model_dump(mode="json", exclude={"seq", "time", "type"}))
    return row


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def storable(value: Any) -> Any:
    """Return JSON that PostgreSQL takes: NUL becomes U+FFFD, a number not finite null."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    return [storable(item) for item in value] if isinstance(value, list) else value


def _apply(run: Run, event: Event) -> bool:
    """Bring the run's fields up to one event; say whether its page's head changed."""
    if isinstance(event, Log):
        return False
    if isinstance(event, Metric):
        run.latest_metrics = {**run.latest_metrics, **storable(event.values), "step": event.step}
    elif isinstance(event, Progress):
        shown = event.model_dump(include={"stage", "done", "total", "unit", "eta_s"})
        run.progress = storable(shown)
    elif isinstance(event, ArtifactEvent):
        _keep_artifact(run, event)
    elif isinstance(event, Endpoint):
        get_listener(run.job.kind).on_endpoint(run, event)
    elif isinstance(event, StatusEvent) and event.status in FINAL:
        _close(run, event)
    return True


def _keep_artifact(run: Run, event: ArtifactEvent) -> None:
    fields = {"name", "role", "path", "repo", "revision", "size_bytes", "step"}
    artifact = storable(event.model_dump(include=fields))
    run.artifacts = [*run.artifacts, artifact][-_ARTIFACTS_KEPT:]
    if event.repo == run.job.output_repo and event.revision:
        run.job.output_revision = event.revision
        run.job.save(update_fields=["output_revision"])


def _close(run: Run, event: StatusEvent) -> None:
    run.is_closed = True
    run.exit_code = event.exit_code
    run.log_sha256 = event.log_sha256 or ""
    run.log_complete = (
        event.log_bytes == run.log_bytes
        and bool(run.log_sha256)
        and hash_log(run) == run.log_sha256
    )
