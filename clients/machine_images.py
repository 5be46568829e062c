"""`athanor machine save`, `images`, `delete-image`, `clone`: machines as images of one's own."""

import time
from typing import Annotated
from urllib.parse import quote

import typer

from clients.api import Json, StudioApi
from clients.machine_starts import MaybeHours, Name, Wait, count_seconds, finish, path_of
from clients.terminal import AsJson, Refused, format_bytes, make_api, say, show, show_table

_POLL_S = 1.0
IMAGES = "/api/saved-images/"


def save_machine(
    name: Name,
    image: Annotated[str, typer.Argument(help="The image's name: small letters, digits and -.")],
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Stay until it is saved.")] = False,
    as_json: AsJson = False,
) -> None:
    """Save a machine as an image of your own: what is installed in it, without your drive."""
    api = make_api()
    machine = api.post(f"{path_of(name)}save/", {"name": image})
    if wait:
        machine = _await_saved(api, machine)
    told = f"{machine['name']} is saved as {image}." if wait else f"Saving as {image}."
    show(machine, as_json, lambda: say(told))


def clone_machine(
    name: Name,
    new: Annotated[str, typer.Argument(help="The new machine's name.")],
    hours: MaybeHours = None,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Make a machine like another: its image and flavor, and what is installed in it."""
    api = make_api()
    body: Json = {"name": new}
    if hours is not None:
        body["duration_s"] = count_seconds(hours)
    finish(api, api.post(f"{path_of(name)}clone/", body, once=True), wait, as_json)


def list_saved(as_json: AsJson = False) -> None:
    """List the images that you have saved from machines."""
    found = make_api().get(IMAGES)
    rows = (
        (
            each["name"],
            each["status"],
            format_bytes(each["size_bytes"]) if each["size_bytes"] else "-",
            each["node"] or "-",
            each["machine"],
        )
        for each in found
    )
    columns = ("image", "status", "size", "node", "saved from")
    show(found, as_json, lambda: show_table(columns, rows))


def delete_saved(
    image: Annotated[str, typer.Argument(help="A saved image's name.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a saved image; machines that have it keep working."""
    if not yes:
        typer.confirm(f"Delete the image {image}?", abort=True)
    make_api().delete(f"{IMAGES}{quote(image, safe='')}/")
    say(f"The image {image} is deleted.")


def _await_saved(api: StudioApi, machine: Json) -> Json:
    while machine["saving"] and not machine["saving"]["ended_at"]:
        time.sleep(_POLL_S)
        machine = api.get(path_of(machine["key"]))
    if machine["saving"] and machine["saving"]["problem"]:
        raise Refused(f"It was not saved: {machine['saving']['problem']}")
    return machine
