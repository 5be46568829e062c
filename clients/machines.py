"""`athanor machine`: dev machines from a terminal, and the way into one by SSH or browser."""

import os
import re
import shlex
import sys
import time
import webbrowser
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

import typer

from clients.account import find_folder
from clients.api import Json, StudioApi
from clients.terminal import (
    AsJson,
    Refused,
    format_bytes,
    format_left,
    format_points,
    make_api,
    say,
    show,
    show_table,
)

_POLL_S = 1.0
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
    "start_failed": "it could not start",
}

app = typer.Typer(no_args_is_help=True, help="Dev machines: make, enter, stop, delete.")

Name = Annotated[str, typer.Argument(help="The machine's name, or its key.")]
Wait = Annotated[bool, typer.Option("--wait", "-w", help="Stay until it runs.")]
Hours = Annotated[float, typer.Option(min=0.01, max=100_000, help="For how many hours.")]
MaybeHours = Annotated[
    float | None,
    typer.Option(min=0.01, max=100_000, help="For how many hours; else what the studio proposes."),
]


@app.command("create")
def create_machine(
    name: Annotated[str, typer.Argument(help="Small letters, digits and -.")],
    flavor: Annotated[str, typer.Option(help="What it has; see `athanor machine flavors`.")],
    image: Annotated[
        str, typer.Option(help="What it starts from; may be left out where there is only one.")
    ] = "",
    hours: MaybeHours = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Make a dev machine and start it."""
    api = make_api()
    if not image or hours is None:
        options = api.get("/api/machines/options/")
        image = image or _only_image(options)
        hours = hours or options["default_duration_s"] / 3600
    body = {"name": name, "image": image, "flavor": flavor, "duration_s": _seconds(hours)}
    _finish(api, api.post("/api/machines/", body, once=True), wait, as_json)


@app.command("list")
def list_machines(as_json: AsJson = False) -> None:
    """List your dev machines."""
    found = make_api().get("/api/machines/")
    rows = (
        (
            each["name"],
            each["status"],
            each["image"]["name"],
            each["flavor"]["name"],
            _tell_left(each),
            format_points((each["lease"] or {}).get("cost_mpoints", 0)),
        )
        for each in found
    )
    columns = ("name", "status", "image", "flavor", "left", "points")
    show(found, as_json, lambda: show_table(columns, rows))


@app.command("images")
def list_images(as_json: AsJson = False) -> None:
    """List what a machine can start from."""
    found = make_api().get("/api/machines/options/")["images"]
    rows = (
        (each["name"], each["title"], " ".join(each["tools"]), " ".join(each["flavors"]) or "all")
        for each in found
    )
    show(found, as_json, lambda: show_table(("image", "title", "tools", "flavors"), rows))


@app.command("flavors")
def list_flavors(as_json: AsJson = False) -> None:
    """List what a machine can have, and what an hour of it costs."""
    options = make_api().get("/api/machines/options/")
    rows = (
        (
            each["name"],
            str(each["cores"]),
            format_bytes(each["memory_bytes"]),
            _tell_devices(each),
            format_points(each["price_mpoints_per_hour"]),
            "yes" if each.get("is_available", True) else "no",
        )
        for each in options["flavors"]
    )
    columns = ("flavor", "cores", "memory", "gpu", "points/h", "available")
    show(options["flavors"], as_json, lambda: show_table(columns, rows))
    engine = options["engine"]
    if not engine["is_available"]:
        print(engine["problem"], file=sys.stderr)


@app.command("start")
def start_machine(
    name: Name, hours: MaybeHours = None, wait: Wait = False, as_json: AsJson = False
) -> None:
    """Start a machine that has stopped."""
    api = make_api()
    body = {} if hours is None else {"duration_s": _seconds(hours)}
    _finish(api, api.post(f"{path_of(name)}start/", body), wait, as_json)


@app.command("stop")
def stop_machine(name: Name, as_json: AsJson = False) -> None:
    """Stop a machine; its files are kept, and its points are charged no more."""
    api = make_api()
    _finish(api, api.post(f"{path_of(name)}stop/", {}), False, as_json)


@app.command("restart")
def restart_machine(name: Name, wait: Wait = False, as_json: AsJson = False) -> None:
    """Stop a machine and start it again, within the time it has."""
    api = make_api()
    _finish(api, api.post(f"{path_of(name)}restart/", {}), wait, as_json)


@app.command("extend")
def extend_machine(name: Name, hours: Hours = 1, as_json: AsJson = False) -> None:
    """Give a machine more time."""
    machine = make_api().post(f"{path_of(name)}extend/", {"duration_s": _seconds(hours)})
    show(machine, as_json, lambda: say(f"{machine['name']} has {_tell_left(machine)} left."))


@app.command(
    "ssh", context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True}
)
def enter_by_ssh(
    name: Name,
    command: Annotated[list[str] | None, typer.Argument(help="Run this and come back.")] = None,
) -> None:
    """Open a shell in a machine, or run a command there: `athanor machine ssh box -- nvidia-smi`.

    This is the ssh of your computer with your own key, which `athanor key add` tells the studio.
    One word is given to the machine's shell as it is; of several each stays one word.
    """
    api = make_api()
    machine = api.get(path_of(name))
    where = api.get("/api/machines/options/")["ssh"]
    if not where:
        raise Refused("This studio has no SSH door.")
    if machine["status"] != "running":
        raise Refused(
            f"{machine['name']} is {machine['status']}: `athanor machine start {machine['name']}`."
        )
    words = ["ssh", "-p", str(where["port"]), *_trust(where)]
    words += ["--", f"{machine['name']}@{where['host']}"]
    command = command[1:] if command and command[0] == "--" else command
    if command:
        words.append(command[0] if len(command) == 1 else shlex.join(command))
    try:
        os.execvp("ssh", words)
    except FileNotFoundError as error:
        raise Refused("There is no ssh program here: install OpenSSH's client.") from error


@app.command("open")
def open_tool(
    name: Name,
    tool: Annotated[str, typer.Argument(help="A tool's name, or a port; else the first.")] = "",
    browser: Annotated[
        bool, typer.Option(help="Open it here, where there is a browser to do so.")
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Print the link to a machine's tool and open it.

    It signs one browser in, once, within 30 seconds.
    """
    api = make_api()
    machine = api.get(path_of(name))
    entry = api.post(f"{path_of(machine['key'])}enter/", {"port": _find_port(machine, tool)})
    show(entry, as_json, lambda: print(entry["url"]))
    if browser and _has_browser():
        webbrowser.open(entry["url"])


@app.command("delete")
def delete_machine(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a machine; your drive, which is its home, is kept."""
    api = make_api()
    machine = api.get(path_of(name))
    if not yes:
        asked = f"Delete {machine['name']}? What is outside its home is lost."
        typer.confirm(asked, abort=True)
    api.delete(path_of(machine["key"]))
    say(f"{machine['name']} is deleted; its home is kept.")


def path_of(name: str) -> str:
    """Return where the API has a machine.

    Raises:
        Refused: it can be no machine's name.
    """
    if not _NAME.fullmatch(name):
        raise Refused(f"{name[:80]!r} is no machine's name: `athanor machine list` shows yours.")
    return f"/api/machines/{quote(name, safe='')}/"


def _only_image(options: Json) -> str:
    names = [str(each["name"]) for each in options["images"]]
    if len(names) == 1:
        return names[0]
    if not names:
        raise Refused("This studio has no image to start from: ask an operator to add one.")
    raise Refused(f"Choose an image with --image: {', '.join(names)}.")


def _seconds(hours: float) -> int:
    return round(hours * 3600)


def _finish(api: StudioApi, machine: Json, wait: bool, as_json: bool) -> None:
    if wait:
        machine = _await_running(api, machine, is_quiet=as_json)
    show(machine, as_json, lambda: _tell(machine))


def _await_running(api: StudioApi, machine: Json, *, is_quiet: bool) -> Json:
    told = ""
    while machine["status"] != "running":
        if machine["status"] not in {"queued", "starting", "stopping"}:
            raise Refused(f"{machine['name']} is {machine['status']}: {_tell_why(machine)}.")
        now = machine["status"]
        if machine.get("queue_position"):
            now += f" ({machine['queue_position']} in the queue)"
        if now != told and not is_quiet:
            say(f"{machine['name']} is {now}.")
        told = now
        time.sleep(_POLL_S)
        machine = api.get(path_of(machine["key"]))
    return machine


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


def _tell_left(machine: Json) -> str:
    lease = machine["lease"]
    if not lease or not lease["is_open"]:
        return "-"
    if not lease["ends_at"]:
        return format_left(lease["granted_s"])
    ends_at = datetime.fromisoformat(lease["ends_at"])
    return format_left((ends_at - datetime.now(UTC)).total_seconds())


def _tell_devices(flavor: Json) -> str:
    if not flavor["num_devices"]:
        return "-"
    percent = flavor.get("device_percent", 100)
    return f"{percent} % of a GPU" if percent < 100 else str(flavor["num_devices"])


def _find_port(machine: Json, tool: str) -> int:
    if tool.isascii() and tool.isdigit():
        return int(tool)
    found = [each for each in machine["tools"] if not tool or each["name"] == tool]
    if not found:
        names = ", ".join(each["name"] for each in machine["tools"]) or "none"
        raise Refused(f"{machine['name']} has no tool {tool!r}; it has: {names}.")
    return int(found[0]["port"])


def _has_browser() -> bool:
    """Whether a browser may open here: not in a dev machine, and none that draws in a terminal."""
    if "ATHANOR_MACHINE" in os.environ:
        return False
    has_screen = "DISPLAY" in os.environ or "WAYLAND_DISPLAY" in os.environ
    return has_screen or sys.platform in {"darwin", "win32"}


def _trust(where: Json) -> list[str]:
    """Return what has ssh know the studio's key from the start, as the API told it."""
    line = str(where.get("host_key") or "").strip()
    if not line or "\n" in line:
        return []
    path = find_folder(os.environ) / "known_hosts"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.part")
    partial.write_text(f"{line}\n", encoding="utf-8")
    partial.replace(path)
    return ["-o", f'UserKnownHostsFile="{path}"', "-o", "StrictHostKeyChecking=yes"]
