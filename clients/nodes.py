"""`athanor node`: the machines of a studio, for those who look after them.

Listing is for operators; all else is for administrators, by a token with the scope `admin`.
"""

import time
from typing import Annotated
from urllib.parse import quote

import typer

from clients import node_join
from clients.api import ApiRefusal, Json, StudioApi
from clients.terminal import (
    AsJson,
    Refused,
    format_bytes,
    make_api,
    say,
    show,
    show_table,
)

_POLL_S = 2.0

app = typer.Typer(no_args_is_help=True, help="Nodes: join, look at, set aside, empty, remove.")
app.command("join")(node_join.join_node)
app.command("run")(node_join.run_node)

Name = Annotated[str, typer.Argument(help="The node's name.")]


@app.command("list")
def list_nodes(as_json: AsJson = False) -> None:
    """List the nodes with what they have and what runs there."""
    found = _list(make_api())
    rows = (
        (
            each["name"],
            _tell_state(each),
            str(each["cores"]),
            format_bytes(each["memory_bytes"]),
            _tell_devices(each),
            _tell_engine(each["engine"]),
            str(sum(held["is_going"] for held in each["holdings"])),
        )
        for each in found
    )
    columns = ("node", "state", "cores", "memory", "gpus", "docker", "running")
    show(found, as_json, lambda: show_table(columns, rows))


@app.command("token")
def make_token(
    name: Annotated[str, typer.Option(help="The only name it is for; without one, any.")] = "",
    minutes: Annotated[int, typer.Option(min=1, max=10_080, help="How long it lives.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Make a one-time token with which a machine joins as a node."""
    body = {"name": name, "lasts_s": minutes * 60}
    made = make_api().post("/api/node-join-tokens/", body)

    def tell() -> None:
        say(f"Once, within {minutes} minutes, on the machine that shall be a node:")
        say(made["command"])

    show(made, as_json, tell)


@app.command("cordon")
def cordon_node(name: Name, as_json: AsJson = False) -> None:
    """Place nothing new on a node; what runs there goes on."""
    node = make_api().post(f"{_address(name)}cordon/", {})
    show(node, as_json, lambda: say(f"{name} is set aside: nothing new is placed on it."))


@app.command("uncordon")
def uncordon_node(name: Name, as_json: AsJson = False) -> None:
    """Use a node again, and empty it no further."""
    node = make_api().post(f"{_address(name)}uncordon/", {})
    show(node, as_json, lambda: say(f"{name} is used again."))


@app.command("drain")
def drain_node(
    name: Name,
    reason: Annotated[str, typer.Option(help="What owners of its machines read.")] = "",
    minutes: Annotated[float, typer.Option(min=0, max=10_080, help="Until machines stop.")] = 10,
    stop_runs: Annotated[
        bool, typer.Option("--stop-runs", help="Stop jobs too; else they go on to their end.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Stay until it is empty.")] = False,
    as_json: AsJson = False,
) -> None:
    """Empty a node: owners are warned, and after some minutes its machines stop."""
    api = make_api()
    body = {"reason": reason, "grace_s": round(minutes * 60), "stops_runs": stop_runs}
    node = api.post(f"{_address(name)}drain/", body)
    if wait:
        node = _await_empty(api, name, quiet=as_json)
    elif not as_json:
        _tell_drain(node)
    show(node, as_json, lambda: None)


@app.command("remove")
def remove_node(
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="Also where it holds something still.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Have a node no more: its token is refused at once, and it ends what it still holds."""
    api = make_api()
    node = _find(api, name)
    if not yes:
        say(_tell_loss(node))
        typer.confirm(f"Remove {name}?", abort=True)
    query = "?force=true" if force else ""
    try:
        api.delete(f"{_address(name)}{query}")
    except ApiRefusal as refusal:
        if refusal.code == "node_not_empty":
            raise Refused(f"{refusal} (--force)") from refusal
        raise
    say(f"{name} is removed. `athanor node join` makes it a node again.")


def _address(name: str) -> str:
    return f"/api/nodes/{quote(name, safe='')}/"


def _list(api: StudioApi) -> list[Json]:
    try:
        return list(api.get("/api/nodes/"))
    except ApiRefusal as refusal:
        if refusal.status == 404:
            raise Refused(
                "Nodes are shown to operators: sign in with a token that has the scope admin."
            ) from refusal
        raise


def _find(api: StudioApi, name: str) -> Json:
    for node in _list(api):
        if node["name"] == name:
            return node
    raise Refused(f"There is no node {name}: `athanor node list` shows them.")


def _await_empty(api: StudioApi, name: str, *, quiet: bool) -> Json:
    told: str | None = None
    while True:
        node = _find(api, name)
        if node["drain"] is None:
            raise Refused(f"{name} is no longer being emptied: somebody uses it again.")
        going = [held for held in node["holdings"] if held["is_going"]]
        line = ", ".join(f"{held['kind']} {held['name']} ({held['status']})" for held in going)
        if line != told and not quiet:
            say(line or f"{name} is empty.")
            told = line
        if not going:
            return node
        time.sleep(_POLL_S)


def _tell_drain(node: Json) -> None:
    going = [held for held in node["holdings"] if held["is_going"]]
    machines = sum(held["kind"] == "machine" for held in going)
    say(
        f"{node['name']} is being emptied: machines that stop: {machines}; "
        f"runs there: {len(going) - machines}. `athanor node list` shows how far it is."
    )


def _tell_state(node: Json) -> str:
    words = ["online" if node["is_online"] else "lost" if node["is_lost"] else "offline"]
    if node["drain"]:
        words.append("empty" if node["drain"]["is_done"] else "draining")
    elif node["is_cordoned"]:
        words.append("cordoned")
    return ", ".join(words)


def _tell_devices(node: Json) -> str:
    names: dict[str, int] = {}
    for device in node["devices"]:
        label = device["name"] + (" (mock)" if device["is_mock"] else "")
        names[label] = names.get(label, 0) + 1
    return ", ".join(f"{count} x {name}" for name, count in names.items()) or "-"


def _tell_engine(engine: Json | None) -> str:
    if engine is None or not engine["is_fresh"]:
        return "-"
    return str(engine["version"] or engine["problem"])


def _tell_loss(node: Json) -> str:
    held = node["holdings"]
    runs = sum(each["kind"] != "machine" for each in held)
    machines = len(held) - runs
    if not held:
        return f"{node['name']} holds nothing."
    return (
        f"{node['name']} holds {runs} runs, which are lost and refunded, and {machines} machines, "
        "which begin anew from their images; what was installed in them is lost, homes are kept."
    )
