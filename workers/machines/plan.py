"""What to do next so that the containers of a node become what the studio wants. Decides only."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from workers.machines.orders import MachineOrder


class Step(Enum):
    """One thing to do to a container."""

    CREATE = "create"
    START = "start"
    STOP = "stop"
    REMOVE = "remove"


@dataclass(frozen=True)
class Container:
    """One container of a dev machine, as the engine tells of it. Times are Unix seconds."""

    id: str
    machine: str
    life: int
    status: str
    """The engine's word: created, running, paused, restarting, removing, exited or dead."""
    started_at: float | None = None
    ended_at: float | None = None
    exit_code: int | None = None
    was_out_of_memory: bool = False
    address: str = ""
    pid: int = 0
    """Of its first process, as the node numbers it; 0 where it has none."""
    slot: str = ""
    """Where it was made before anybody wanted it, the folder it has on the node."""

    @property
    def is_up(self) -> bool:
        """Whether it has processes."""
        return self.status in {"running", "paused", "restarting"}


@dataclass(frozen=True)
class Done:
    """What the node has done for a machine, as it remembers it."""

    life: int = 0
    """The last container that was made. One that is gone is not made again: what its owner had put
    into it is lost, and it is theirs to hear that and to begin anew."""
    start: int = 0


@dataclass(frozen=True)
class Deed:
    """A step, and the container it is done to: none yet of one to create."""

    step: Step
    machine: str
    container: str = ""


def plan_next(
    orders: Mapping[str, MachineOrder],
    containers: Iterable[Container],
    done: Mapping[str, Done],
) -> list[Deed]:
    """Return at most one deed for each machine and each stray container.

    Of two containers of one machine the one that is not wanted goes first, so that never two have
    one home open.
    """
    of_machine: dict[str, list[Container]] = {}
    for container in containers:
        of_machine.setdefault(container.machine, []).append(container)
    deeds = []
    for machine in sorted({*orders, *of_machine}):
        order = orders.get(machine)
        deed = _plan_one(machine, order, of_machine.get(machine, []), done.get(machine, Done()))
        if deed is not None:
            deeds.append(deed)
    return deeds


def _plan_one(
    machine: str, order: MachineOrder | None, containers: list[Container], done: Done
) -> Deed | None:
    ours = [each for each in containers if order is not None and each.life == order.life]
    keep = min(ours, key=lambda each: (not each.is_up, each.id), default=None)
    for container in containers:
        if container is not keep:
            return Deed(Step.STOP if container.is_up else Step.REMOVE, machine, container.id)
    if order is None:
        return None
    if keep is None:
        is_new = order.life > done.life
        return Deed(Step.CREATE, machine) if order.is_running and is_new else None
    if keep.status in {"removing", "dead"}:
        return Deed(Step.REMOVE, machine, keep.id)
    if keep.is_up:
        return None if order.is_running else Deed(Step.STOP, machine, keep.id)
    is_due = keep.status == "created" or order.start > done.start
    return Deed(Step.START, machine, keep.id) if order.is_running and is_due else None
