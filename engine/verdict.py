"""How a run ended: its exit, its last word and what the recorder saw, turned into a reason.

Pure, so that every case can be tried.
"""

import signal
from dataclasses import dataclass
from typing import Any

from engine.sentences import RUN_SENTENCES
from engine.status import Reason, Status

STOP_REASONS = frozenset(
    {
        Reason.STOPPED_BY_OWNER,
        Reason.STOPPED_BY_OPERATOR,
        Reason.POINTS_EXHAUSTED,
        Reason.TIME_LIMIT,
        Reason.IDLE,
    }
)


@dataclass(frozen=True)
class Ending:
    """What is known when the engine is gone."""

    exit_code: int
    """Negative is the signal that ended it."""
    wish: dict[str, Any] | None = None
    """The last final status that the engine itself announced."""
    stop: dict[str, Any] | None = None
    """Reason and message of the stop that the recorder was asked for."""
    peak_bytes: int | None = None
    """Memory in use when the recorder killed it for passing its limit."""
    limit_bytes: int | None = None
    kernel_killed_for_memory: bool = False


def judge(ending: Ending) -> dict[str, Any]:
    """Return `status`, `reason`, `message` and `exit_code` of the final event."""
    status, reason, message = _decide(ending)
    return {
        "status": status.value,
        "reason": reason.value,
        "message": message,
        "exit_code": ending.exit_code,
    }


def final_status(reason: Reason) -> Status:
    """Say whether an abandoned run with this reason was stopped or has failed."""
    return Status.STOPPED if reason in STOP_REASONS else Status.FAILED


def _decide(ending: Ending) -> tuple[Status, Reason, str]:
    wish = ending.wish or {}
    if wish.get("status") == Status.SUCCEEDED:
        return Status.SUCCEEDED, Reason.COMPLETED, wish.get("message") or ""
    if ending.peak_bytes is not None:
        used, limit = _gib(ending.peak_bytes), _gib(ending.limit_bytes or 0)
        message = RUN_SENTENCES.say("run_over_memory", used=used, limit=limit)
        return Status.FAILED, Reason.OUT_OF_MEMORY, message
    if ending.stop is not None:
        reason = Reason(ending.stop.get("reason") or Reason.STOPPED_BY_OWNER)
        return Status.STOPPED, reason, ending.stop.get("message") or ""
    if wish:
        return Status(wish["status"]), Reason(wish["reason"]), wish.get("message") or ""
    return _decide_by_exit(ending)


def _decide_by_exit(ending: Ending) -> tuple[Status, Reason, str]:
    code = ending.exit_code
    if code == 0:
        return Status.SUCCEEDED, Reason.COMPLETED, ""
    if code == -signal.SIGKILL and ending.kernel_killed_for_memory:
        message = RUN_SENTENCES.say("kernel_out_of_memory")
        return Status.FAILED, Reason.OUT_OF_MEMORY, message
    if code == -signal.SIGKILL:
        return Status.FAILED, Reason.KILLED, RUN_SENTENCES.say("engine_killed")
    if code < 0:
        name = signal.Signals(-code).name
        message = RUN_SENTENCES.say("engine_signalled", signal=name)
        return Status.FAILED, Reason.CRASHED, message
    message = RUN_SENTENCES.say("engine_crashed", status=code)
    return Status.FAILED, Reason.CRASHED, message


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / 2**30:.2f} GiB"
