"""`athanor machine rename`, `change`, `reset`: what is done to a machine seldom."""

from typing import Annotated

import typer

from clients.completion import complete_flavor, complete_image
from clients.machine_starts import Name, finish, path_of
from clients.terminal import AsJson, Refused, make_api, say, show


def rename_machine(
    name: Name,
    new: Annotated[str, typer.Argument(help="Small letters, digits and -.")],
    as_json: AsJson = False,
) -> None:
    """Give a machine another name; ssh knows it by the new one at once."""
    machine = make_api().patch(path_of(name), {"name": new})
    show(machine, as_json, lambda: say(f"{name} is {machine['name']} now."))


def change_machine(
    name: Name,
    flavor: Annotated[
        str, typer.Option(help="What it shall have.", autocompletion=complete_flavor)
    ] = "",
    image: Annotated[
        str, typer.Option(help="What it shall start from.", autocompletion=complete_image)
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Give a stopped machine another flavor or image; its container is made anew."""
    body = {key: value for key, value in {"flavor": flavor, "image": image}.items() if value}
    if not body:
        raise Refused("Say what to change: --flavor, --image or both.")
    if not yes:
        typer.confirm(f"Change {name}? What is outside its home is lost.", abort=True)
    api = make_api()
    finish(api, api.post(f"{path_of(name)}change/", body), False, as_json)


def reset_machine(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Have a stopped machine begin anew from its image; its home is kept."""
    if not yes:
        typer.confirm(f"Reset {name}? What is outside its home is lost.", abort=True)
    api = make_api()
    finish(api, api.post(f"{path_of(name)}reset/", {}), False, as_json)
