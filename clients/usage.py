"""`athanor usage`: what a machine uses of what is its own, and whether it stops for idleness.

`nproc`, `free` and `top` may show the whole node's; this shows the machine's.
"""

import os
import sys
import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table

from clients.api import Json, StudioApi
from clients.machine_starts import path_of
from clients.terminal import AsJson, Refused, console, make_api, say, show

_POLL_S = 2.0
_USED_BY = {
    "run": "a detached run goes on",
    "kernel": "a kernel is busy",
    "gpu": "a GPU is busy",
    "cpu": "the processor is busy",
    "terminal": "a terminal is in use",
    "ssh": "somebody is connected over SSH",
    "browser": "somebody is connected in a browser",
    "kept": "you keep it",
    "unknown": "its node does not tell whether it is used",
    "started": "it has just started",
}

MaybeName = Annotated[
    str, typer.Argument(help="The machine's name, or its key; in a machine this one.")
]
Name = Annotated[str, typer.Argument(help="The machine's name, or its key.")]
Hours = Annotated[float, typer.Option(min=0, max=24, help="For how many hours; 0 is no longer.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it, until Ctrl-C.")]


def add_to(app: typer.Typer, machine_app: typer.Typer) -> None:
    """Add the commands."""
    app.command("usage")(show_usage)
    machine_app.command("usage")(show_usage)
    machine_app.command("keep")(keep_machine)


def show_usage(name: MaybeName = "", watch: Watch = False, as_json: AsJson = False) -> None:
    """Show what a machine uses of its own processors, memory, GPUs, disk and network."""
    api, path = make_api(), path_of(name or _here())
    body = _ask(api, path)
    if not watch or as_json:
        show(body, as_json, lambda: _tell(body))
        return
    with Live(console=console, auto_refresh=False) as screen:
        while True:
            if console.is_terminal:
                screen.update(_draw(body), refresh=True)
            else:  # a pipe has each as it comes
                _tell(body)
                sys.stdout.flush()
            time.sleep(_POLL_S)
            body = _ask(api, path)


def keep_machine(name: Name, hours: Hours = 1, as_json: AsJson = False) -> None:
    """Have a machine go on although it is idle, but no longer than the time it has."""
    machine = make_api().post(f"{path_of(name)}keep/", {"duration_s": round(hours * 3600)})
    show(machine, as_json, lambda: say(f"{machine['name']}: {tell_idle(machine)}"))


def tell_idle(machine: Json) -> str:
    """Return the idle rule's verdict on a machine, one sentence."""
    idle = machine.get("idle")
    if machine["status"] != "running" or not idle:
        return f"it is {machine['status']}."
    if idle["state"] == "off":
        return "it does not stop for idleness."
    if idle["kept_until"]:
        return f"active until {_clock(idle['kept_until'])} at least: you keep it."
    if idle["state"] == "active":
        return f"active: {_USED_BY.get(idle['sign'], 'it is used')}."
    stops_at = _clock(idle["stops_at"])
    return f"idle since {_clock(idle['active_at'])}; stops at {stops_at} unless it is used."


def list_figures(body: Json) -> list[tuple[str, str]]:
    """Return what there is to show of a machine's use, name and figure."""
    live, usage = body["live"] or {}, body
    rows = [
        ("cpu", _of_cores(live.get("cores"), usage["cores_limit"])),
        ("memory", _of_bytes(live.get("memory_bytes"), usage["memory_limit_bytes"])),
    ]
    for number, device in enumerate(live.get("devices", [])):
        rows.append((f"gpu {number}", _tell_device(device, usage["device_percent"])))
    rows.append(("home", _of_bytes(usage["home_used_bytes"], usage["home_quota_bytes"])))
    rows.append(("layer", _bytes(live.get("layer_bytes"))))
    free = _bytes(live.get("disk_free_bytes"))
    rows.append(("scratch", f"{_bytes(live.get('scratch_bytes'))}, {free} free on the node"))
    received, sent = live.get("received_bytes_per_s"), live.get("sent_bytes_per_s")
    rows.append(("network", f"{_bytes(received)}/s in, {_bytes(sent)}/s out"))
    return rows


def _ask(api: StudioApi, path: str) -> Json:
    usage = api.get(f"{path}usage/", since=datetime.now(UTC).isoformat())
    usage.pop("minutes", None)  # a terminal shows the moment
    machine = api.get(path)
    return dict(usage) | {key: machine[key] for key in ("name", "status", "idle")}


def _here() -> str:
    if key := os.environ.get("ATHANOR_MACHINE"):
        return key
    raise Refused("Say which machine: `athanor machine list` shows yours.")


def _tell(body: Json) -> None:
    console.print(_draw(body))


def _draw(body: Json) -> Table:
    table = Table.grid(padding=(0, 2))
    table.title, table.title_justify, table.title_style = body["name"], "left", "bold"
    if body["status"] == "running" and body["live"] is None:
        table.add_row("now", "its node does not tell")
    for name, figure in list_figures(body):
        table.add_row(name, figure)
    table.add_row("state", tell_idle(body))
    return table


def _tell_device(device: Json, percent: int | None) -> str:
    if device["is_mock"]:
        return "a mock: one in name only, nothing is measured"
    memory = _of_bytes(device["memory_bytes"], device["memory_limit_bytes"])
    busy = "-" if device["busy_ratio"] is None else f"{device['busy_ratio']:.0%} busy"
    share = "" if percent in {None, 100} else f", {percent} % of it is yours"
    return f"{busy}, {memory}{share}"


def _of_cores(used: float | None, limit: float) -> str:
    shown = "-" if used is None else f"{used:.2f}"
    return f"{shown} of {limit:g} {'core' if limit == 1 else 'cores'}"


def _of_bytes(used: int | None, limit: int | None) -> str:
    return f"{_bytes(used)} of {_bytes(limit)}"


def _bytes(size: float | None) -> str:
    if size is None:
        return "-"
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.2f} GiB"


def _clock(iso: str) -> str:
    """Return the time of day here, with the day where it is another."""
    at = datetime.fromisoformat(iso).astimezone()
    is_today = at.date() == datetime.now().astimezone().date()
    return at.strftime("%H:%M" if is_today else "%Y-%m-%d %H:%M")
