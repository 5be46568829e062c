"""How a run may move: the few statuses, the many reasons, and the one table of legal moves.

A contract module: pydantic and the standard library only.
"""

from enum import StrEnum


class Status(StrEnum):
    """Where a run is. The last three are final."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"


class Reason(StrEnum):
    """Why a run is where it is; every final run has one."""

    NONE = ""
    COMPLETED = "completed"
    STOPPED_BY_OWNER = "stopped_by_owner"
    STOPPED_BY_OPERATOR = "stopped_by_operator"
    POINTS_EXHAUSTED = "points_exhausted"
    TIME_LIMIT = "time_limit"
    IDLE = "idle"
    BAD_SPEC = "bad_spec"
    BAD_DATA = "bad_data"
    BAD_MODEL = "bad_model"
    NON_FINITE_LOSS = "non_finite_loss"
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    KILLED = "killed"
    CRASHED = "crashed"
    INTERNAL_ERROR = "internal_error"
    LAUNCH_FAILED = "launch_failed"
    ARTIFACT_LOST = "artifact_lost"
    NODE_LOST = "node_lost"
    NO_NODE = "no_node"


FINAL: frozenset[Status] = frozenset({Status.SUCCEEDED, Status.FAILED, Status.STOPPED})

# Faults of the platform, not of the user: their charges are refunded.
PLATFORM_FAULTS: frozenset[Reason] = frozenset(
    {
        Reason.INTERNAL_ERROR,
        Reason.LAUNCH_FAILED,
        Reason.ARTIFACT_LOST,
        Reason.NODE_LOST,
        Reason.NO_NODE,
    }
)

MOVES: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.STARTING, Status.STOPPED, Status.FAILED}),
    Status.STARTING: frozenset({Status.RUNNING, Status.STOPPING, *FINAL}),
    Status.RUNNING: frozenset({Status.STOPPING, *FINAL}),
    Status.STOPPING: FINAL,
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.STOPPED: frozenset(),
}


def can_move(old: Status, new: Status) -> bool:
    """Say whether a run may go from `old` to `new`; staying put is not a move."""
    return new in MOVES[old]
