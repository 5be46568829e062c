"""`athanor machine`: dev machines from a terminal, and the way into one by SSH or browser."""

import os
import shlex
import sys
import webbrowser
from typing import Annotated

import typer

from clients.account import find_folder
from clients.api import Json
from clients.completion import complete_flavor, complete_image
from clients.machine_changes import change_machine, rename_machine, reset_machine
from clients.machine_images import clone_machine, delete_saved, list_saved, save_machine
from clients.machine_starts import (
    Hours,
    MaybeHours,
    Name,
    Wait,
    count_seconds,
    finish,
    path_of,
    tell_left,
)
from clients.terminal import (
    AsJson,
    Refused,
    format_bytes,
    format_points,
    make_api,
    say,
    show,
    show_table,
)

app = typer.Typer(no_args_is_help=True, help="Dev machines: make, enter, stop, delete.")
app.command("rename")(rename_machine)
app.command("change")(change_machine)
app.command("reset")(reset_machine)
app.command("save")(save_machine)
app.command("saved")(list_saved)
app.command("delete-image")(delete_saved)
app.command("clone")(clone_machine)


@app.command("create")
def create_machine(
    name: Annotated[str, typer.Argument(help="Small letters, digits and -.")],
    flavor: Annotated[
        str,
        typer.Option(
            help="What it has; see `athanor machine flavors`.", autocompletion=complete_flavor
        ),
    ],
    image: Annotated[
        str,
        typer.Option(
            help="What it starts from; may be left out where there is only one.",
            autocompletion=complete_image,
        ),
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
    body = {"name": name, "image": image, "flavor": flavor, "duration_s": count_seconds(hours)}
    finish(api, api.post("/api/machines/", body, once=True), wait, as_json)


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
            tell_left(each),
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
            _tell_disk(each.get("disk_bytes")),
            _tell_disk(each.get("scratch_bytes")),
            format_points(each["price_mpoints_per_hour"]),
            "yes" if each.get("is_available", True) else "no",
        )
        for each in options["flavors"]
    )
    columns = ("flavor", "cores", "memory", "gpu", "disk", "/scratch", "points/h", "available")
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
    body = {} if hours is None else {"duration_s": count_seconds(hours)}
    finish(api, api.post(f"{path_of(name)}start/", body), wait, as_json)


@app.command("stop")
def stop_machine(name: Name, as_json: AsJson = False) -> None:
    """Stop a machine; its files are kept, and its points are charged no more."""
    api = make_api()
    finish(api, api.post(f"{path_of(name)}stop/", {}), False, as_json)


@app.command("restart")
def restart_machine(name: Name, wait: Wait = False, as_json: AsJson = False) -> None:
    """Stop a machine and start it again, within the time it has."""
    api = make_api()
    finish(api, api.post(f"{path_of(name)}restart/", {}), wait, as_json)


@app.command("extend")
def extend_machine(name: Name, hours: Hours = 1, as_json: AsJson = False) -> None:
    """Give a machine more time."""
    machine = make_api().post(f"{path_of(name)}extend/", {"duration_s": count_seconds(hours)})
    show(machine, as_json, lambda: say(f"{machine['name']} has {tell_left(machine)} left."))


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
    as_json: AsJson = False,
) -> None:
    """Delete a machine; your drive, which is its home, is kept."""
    api = make_api()
    machine = api.get(path_of(name))
    if not yes:
        asked = f"Delete {machine['name']}? What is outside its home is lost."
        typer.confirm(asked, abort=True, err=True)
    api.delete(path_of(machine["key"]))
    told = f"{machine['name']} is deleted; its home is kept."
    show({"key": machine["key"], "name": machine["name"]}, as_json, lambda: say(told))


def _only_image(options: Json) -> str:
    names = [str(each["name"]) for each in options["images"]]
    if len(names) == 1:
        return names[0]
    if not names:
        raise Refused("This studio has no image to start from: ask an operator to add one.")
    raise Refused(f"Choose an image with --image: {', '.join(names)}.")


def _tell_devices(flavor: Json) -> str:
    if not flavor["num_devices"]:
        return "-"
    percent = flavor.get("device_percent", 100)
    return f"{percent} % of a GPU" if percent < 100 else str(flavor["num_devices"])


def _tell_disk(num_bytes: int | None) -> str:
    return "-" if num_bytes is None else format_bytes(num_bytes)


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
