"""What a run needs next, decided from what can be seen of it: pure, so every case can be tried."""

from dataclasses import dataclass
from enum import Enum

from engine.sentences import RUN_SENTENCES
from engine.status import Reason
from workers.run_dir import StopWish
from workers.runtimes.base import Life

LAUNCH_TIMEOUT_S = 15.0  # a recorder imports no torch: it names itself within a second
STOP_TIMEOUT_S = 6.0  # the recorder gives its engine 4 s after SIGTERM, and needs a moment to write


class Need(Enum):
    """The next thing to do for a run."""

    NOTHING = "nothing"
    LAUNCH = "launch"
    TERMINATE = "terminate"
    KILL = "kill"
    CLOSE = "close"
    SHELVE = "shelve"


@dataclass(frozen=True)
class RunView:
    """What can be seen of one run."""

    life: Life | None
    """None when it was never launched."""
    launched_s: float = 0.0
    """Seconds since the launch."""
    has_recorder: bool = False
    """Whether a recorder has ever named itself."""
    is_final: bool = False
    is_reported: bool = False
    stop: StopWish | None = None
    terminated_s: float | None = None
    """Seconds since this supervisor passed the stop on; None when it has not."""


def decide(view: RunView) -> Need:
    """Say what the run needs next."""
    if view.life is None:
        return Need.LAUNCH
    if view.life is Life.GONE:
        if not view.is_final:
            return Need.CLOSE
        return Need.SHELVE if view.is_reported else Need.NOTHING
    if view.life is Life.STARTING:
        return _decide_starting(view)
    return _decide_stop(view) if view.stop else Need.NOTHING


def _decide_starting(view: RunView) -> Need:
    if view.is_final:  # closed after its deadline
        return Need.SHELVE if view.is_reported else Need.NOTHING
    return Need.CLOSE if view.launched_s > LAUNCH_TIMEOUT_S else Need.NOTHING


def _decide_stop(view: RunView) -> Need:
    if view.terminated_s is None:
        return Need.TERMINATE
    return Need.KILL if view.terminated_s > STOP_TIMEOUT_S else Need.NOTHING


def explain_end(view: RunView, *, was_rebooted: bool) -> tuple[Reason, str]:
    """Say why a run without a final event is over, and what its owner should know."""
    if view.stop is not None:
        return view.stop.reason, view.stop.message or RUN_SENTENCES.say("run_stopped")
    if was_rebooted:
        return Reason.NODE_LOST, RUN_SENTENCES.say("node_restarted")
    if view.has_recorder:
        return Reason.NODE_LOST, RUN_SENTENCES.say("recorder_killed")
    return Reason.LAUNCH_FAILED, RUN_SENTENCES.say("engine_not_up")
