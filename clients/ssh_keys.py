"""`athanor key`: the SSH keys with which the studio lets you into your machines."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from clients.api import Json
from clients.terminal import AsJson, Refused, make_api, say, show, show_table

_MOST_BYTES = 64 * 1024

app = typer.Typer(no_args_is_help=True, help="SSH keys: add, list, delete, generate.")


@app.command("add")
def add_key(
    file: Annotated[Path, typer.Argument(help="A public key's file; - is standard input.")],
    name: Annotated[str, typer.Option(help="Its name; without one the file's.")] = "",
    as_json: AsJson = False,
) -> None:
    """Tell the studio a public key of yours."""
    text = _read_public(file)
    body = {"name": name or ("key" if str(file) == "-" else file.stem), "public_key": text}
    key = make_api().post("/api/ssh-keys/", body)
    show(key, as_json, lambda: say(f"{key['name']} is added: {key['fingerprint']}"))


@app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List your keys."""
    found = _list()
    rows = (
        (str(each["id"]), each["name"], each["type"], each["fingerprint"], _used(each))
        for each in found
    )
    columns = ("id", "name", "type", "fingerprint", "last used")
    show(found, as_json, lambda: show_table(columns, rows))


@app.command("delete")
def delete_key(
    key: Annotated[str, typer.Argument(help="A key's id, name or fingerprint.")],
    as_json: AsJson = False,
) -> None:
    """Take a key away; who is in by it is put out."""
    listed = _list()
    found = [each for each in listed if str(each["id"]) == key]
    found = found or [each for each in listed if key in (each["name"], each["fingerprint"])]
    if len(found) != 1:
        amiss = "No key is" if not found else "More than one key is"
        raise Refused(f"{amiss} called {key!r}: `athanor key list` shows them with their ids.")
    make_api().delete(f"/api/ssh-keys/{found[0]['id']}/")
    show(found[0], as_json, lambda: say(f"{found[0]['name']} is deleted."))


@app.command("generate")
def generate_key(
    name: Annotated[str, typer.Argument(help="Its name in the studio.")] = "athanor",
    file: Annotated[
        Path | None, typer.Option(help="Where to keep it; else ~/.ssh/id_athanor.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Have a new key made, and keep its private half here: the studio keeps only the public one."""
    path = file or Path.home() / ".ssh" / "id_athanor"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Refused(f"{path} cannot be made: {error.strerror}; choose another --file.") from error
    is_kept = False
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as written:
            key = make_api().post("/api/ssh-keys/generate/", {"name": name})
            written.write(key.pop("private_key").rstrip("\n") + "\n")
        is_kept = True
    finally:
        if not is_kept:
            path.unlink(missing_ok=True)

    def tell() -> None:
        say(f"{key['name']} is in {path}: {key['fingerprint']}")
        say(f"ssh -i {path} ... uses it.")

    show(key | {"file": str(path)}, as_json, tell)


def _list() -> list[Json]:
    return list(make_api().get("/api/ssh-keys/"))


def _used(key: Json) -> str:
    return str(key["last_used_at"] or "never")[:16].replace("T", " ")


def _read_public(path: Path) -> str:
    try:
        if str(path) == "-":
            raw = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with path.open("rb") as file:
                raw = file.read(_MOST_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise Refused(f"{path} holds no public key: it is no text.") from error
    if "PRIVATE KEY" in text:  # it must not even leave this computer
        raise Refused(f"{path} is a private key: keep it to yourself and add its .pub file.")
    if len(raw) > _MOST_BYTES:
        raise Refused(f"{path} holds no public key: it is too long.")
    return text
