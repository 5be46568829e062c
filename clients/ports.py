"""`athanor share` and `unshare`: let others open a port of a dev machine."""

import os
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

import typer

from clients.completion import complete_machine
from clients.machine_starts import path_of
from clients.terminal import AsJson, Refused, make_api, say, show

_SPAN = re.compile(r"(?=\d)(?:(\d{1,4})d)?(?:(\d{1,4})h)?(?:(\d{1,5})m)?")


class Audience(StrEnum):
    """Who may open a port."""

    CLASS = "class"
    PUBLIC = "public"
    PRIVATE = "private"


Port = Annotated[int, typer.Argument(min=1, max=65535, help="The port.")]
OfMachine = Annotated[
    str,
    typer.Option(
        "--machine",
        help="Which; without it the one this runs in.",
        metavar="NAME",
        autocompletion=complete_machine,
    ),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("share")(share_port)
    app.command("unshare")(unshare_port)


def share_port(
    port: Port,
    audience: Annotated[
        Audience, typer.Option("--with", help="class: who is in an organization with you.")
    ] = Audience.CLASS,
    until: Annotated[
        str, typer.Option(help="For how long, such as 30m, 2h or 1d12h; else while it is there.")
    ] = "",
    machine: OfMachine = "",
    as_json: AsJson = False,
) -> None:
    """Let others open a port of a machine in their browser."""
    path = f"{_find_machine(machine)}ports/{port}/"
    body = {"audience": audience.value, "until": _read_until(until)}
    made = make_api().put(path, body)

    def tell() -> None:
        end = f" until {made['until']}" if made["until"] else ""
        say(f"{made['url']} is open to {made['audience']}{end}.")

    show(made, as_json, tell)


def unshare_port(port: Port, machine: OfMachine = "", as_json: AsJson = False) -> None:
    """Let nobody but you open a port any more."""
    path = f"{_find_machine(machine)}ports/{port}/"
    make_api().delete(path)
    show({"port": port}, as_json, lambda: say(f"Port {port} is yours alone."))


def _find_machine(given: str) -> str:
    name = given or os.environ.get("ATHANOR_MACHINE", "")
    if not name:
        raise Refused("This is no dev machine: say which one with --machine NAME.")
    return path_of(name)


def _read_until(text: str) -> str | None:
    if not text:
        return None
    found = _SPAN.fullmatch(text)
    days, hours, minutes = (int(each or 0) for each in found.groups()) if found else (0, 0, 0)
    span = timedelta(days=days, hours=hours, minutes=minutes)
    if not span:
        raise typer.BadParameter("write a span such as 30m, 2h or 1d12h", param_hint="--until")
    return (datetime.now(UTC) + span).isoformat(timespec="seconds")
