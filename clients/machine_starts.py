"""What the commands of dev machines share: naming one, and staying until its start is done."""

import re
import time
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

import typer

from clients.api import Json, StudioApi
from clients.completion import complete_machine
from clients.terminal import Refused, format_left, say, show

HOUR_S = 3600
_POLL_S = 1.0
_TOOL_WITHIN_S = 60.0
"""A machine that runs for so long without an answer of its tool is shown as it is."""
_PARTS = {
    "placed_at": "node found",
    "created_at": "container made",
    "started_at": "started",
}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_WORDS = {
    "stopped_by_owner": "stopped by its owner",
    "stopped_by_operator": "stopped by an operator",
    "time_up": "its time is up",
    "idle": "nobody and nothing used it",
    "points_exhausted": "the points are used up",
    "ended_by_itself": "it ended by itself",
    "out_of_memory": "it was out of memory",
    "container_gone": "its container is gone",
    "node_lost": "its node was lost",
    "node_drained": "its node is being emptied",
    "node_removed": "its node was removed",
    "start_failed": "it could not start",
}

Name = Annotated[
    str, typer.Argument(help="The machine's name, or its key.", autocompletion=complete_machine)
]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Stay until its tools answer.")]
Hours = Annotated[float, typer.Option(min=0.01, max=100_000, help="For how many hours.")]
MaybeHours = Annotated[
    float | None,
    typer.Option(min=0.01, max=100_000, help="For how many hours; else what the studio proposes."),
]


def path_of(name: str) -> str:
    """Return where the API has a machine.

    Raises:
        Refused: it can be no machine's name.
    """
    if not _NAME.fullmatch(name):
        raise Refused(f"{name[:80]!r} is no machine's name: `athanor machine list` shows yours.")
    return f"/api/machines/{quote(name, safe='')}/"


def finish(api: StudioApi, machine: Json, wait: bool, as_json: bool) -> None:
    """Show a machine, where it is asked for after its start is done."""
    if wait:
        machine = _await_usable(api, machine, is_quiet=as_json)
    show(machine, as_json, lambda: _tell(machine))


def count_seconds(hours: float) -> int:
    """Return what the API takes for a time in hours."""
    return round(hours * HOUR_S)


def _await_usable(api: StudioApi, machine: Json, *, is_quiet: bool) -> Json:
    """Stay until its first tool answers, and say each part of the start when it is done."""
    told: list[str] = []
    runs_since: float | None = None
    while True:
        if not is_quiet:
            for line in _list_news(machine):
                if line not in told:
                    say(line)
                    told.append(line)
        if machine["status"] == "running":
            runs_since = runs_since or time.monotonic()
            is_late = time.monotonic() - runs_since > _TOOL_WITHIN_S
            if machine.get("progress", {}).get("is_usable", True) or is_late:
                return machine
        elif machine["status"] not in {"queued", "starting", "stopping"}:
            raise Refused(f"{machine['name']} is {machine['status']}: {_tell_why(machine)}.")
        time.sleep(_POLL_S)
        machine = api.get(path_of(machine["key"]))


def _list_news(machine: Json) -> list[str]:
    """Return what can be said of a start: its place in the queue, or what is done and when."""
    if machine["status"] == "queued":
        line = f"{machine['name']} is number {machine['queue_position']} in the queue"
        if machine.get("wait_s"):
            line += f", for {format_left(machine['wait_s'])} at most"
        return [f"{line}.", *([machine["message"]] if machine["message"] else [])]
    progress = machine.get("progress")
    if not progress or machine["status"] == "stopping":
        return [f"{machine['name']} is {machine['status']}."]
    begun = datetime.fromisoformat(progress["asked_at"])
    done = [(words, progress[part]) for part, words in _PARTS.items()]
    done += [(f"{door['name']} answers", door["ready_at"]) for door in progress["doors"]]
    return [
        f"{(datetime.fromisoformat(at) - begun).total_seconds():6.1f} s  {words}"
        for words, at in sorted((each for each in done if each[1]), key=lambda each: str(each[1]))
    ]


def _tell(machine: Json) -> None:
    why = _tell_why(machine)
    say(f"{machine['name']} is {machine['status']}{f': {why}' if why else ''}.")
    if machine["status"] == "running":
        say(f"ssh    {machine['ssh_command']}")
        for tool in machine["tools"]:
            say(f"open   athanor machine open {machine['name']} {tool['name']}")


def _tell_why(machine: Json) -> str:
    word = _WORDS.get(machine["reason"], machine["reason"])
    return str(machine["message"] or word).rstrip(".")


def tell_left(machine: Json) -> str:
    """Return how long a machine still goes."""
    lease = machine["lease"]
    if not lease or not lease["is_open"]:
        return "-"
    if not lease["ends_at"]:
        return format_left(lease["granted_s"])
    ends_at = datetime.fromisoformat(lease["ends_at"])
    return format_left((ends_at - datetime.now(UTC)).total_seconds())
