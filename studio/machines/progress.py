"""How far a machine's start has come, and when each part of it was done.

Kept at the machine as `{"asked_at", "placed_at", "created_at", "started_at": ISO times, "ready":
{port: ISO time}}`, all by the studio's own clock; a new start begins anew.
"""

from datetime import datetime
from typing import Any

from studio.machines.models import Machine, Status
from workers.machines.orders import MachineState

SSH_PORT = 22
TERMINAL = "terminal"
_MOST_PORTS = 30


def list_ports(machine: Machine) -> list[int]:
    """Return the ports whose answer says that a machine can be used: its tools', and sshd's."""
    tools = machine.image.ordered_tools
    return sorted({*tools.values(), SSH_PORT})[:_MOST_PORTS]


def note_move(machine: Machine, status: Status, now: datetime) -> None:
    """Note what a move says of the start. The caller saves the machine."""
    told = now.isoformat()
    if status == Status.QUEUED:
        machine.progress = {"asked_at": told}
    elif status == Status.STARTING:
        if machine.status != Status.QUEUED:  # it restarts in its place
            machine.progress = {"asked_at": told}
        machine.progress = {**machine.progress, "placed_at": told}
    elif status == Status.RUNNING:
        machine.progress = {"created_at": told, **machine.progress, "started_at": told}


def has_news(machine: Machine, state: MachineState) -> bool:
    """Say whether a node's word is new to the progress."""
    known = machine.progress.get("ready", {})
    is_created = state.is_created and "created_at" not in machine.progress
    return is_created or any(str(port) not in known for port in state.ready_ports)


def take_progress(machine: Machine, state: MachineState, now: datetime) -> bool:
    """Note what a node says of a start that is the machine's present one; say whether it is new.

    The caller saves the machine where it is.
    """
    if (state.life, state.start) != (machine.life, machine.start) or not has_news(machine, state):
        return False
    told = now.isoformat()
    wanted = set(list_ports(machine))
    ready = {str(port): told for port in state.ready_ports if port in wanted}
    progress = {**machine.progress, "ready": {**ready, **machine.progress.get("ready", {})}}
    if state.is_created:
        progress.setdefault("created_at", told)
    is_new = progress != machine.progress
    machine.progress = progress
    return is_new


def show_progress(machine: Machine) -> dict[str, Any]:
    """Return the start as the API shows it: times that have not come are None."""
    progress = machine.progress or {}
    ready = progress.get("ready", {})
    doors = {**machine.image.ordered_tools, TERMINAL: SSH_PORT}
    steps = ("placed_at", "created_at", "started_at")
    return {
        "asked_at": progress.get("asked_at") or machine.created_at,
        **{step: progress.get(step) for step in steps},
        "doors": [
            {"name": name, "port": port, "ready_at": ready.get(str(port))}
            for name, port in doors.items()
        ],
        "is_usable": machine.status == Status.RUNNING and _is_usable(machine, ready),
    }


def _is_usable(machine: Machine, ready: dict[str, str]) -> bool:
    """Say whether its first tool answers; of an image without any, its sshd."""
    tools = list(machine.image.ordered_tools.values())
    return str(tools[0] if tools else SSH_PORT) in ready
