"""`athanor run`: a command that goes on when the terminal, the SSH session or the browser is gone.

Each has a folder, `~/.athanor/runs/NAME`, with `run.json`, `log` and, when it has ended, `exit`.
The home may be that of several machines at once, so a run knows on which it is.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from clients.api import Json
from clients.terminal import AsJson, Refused, say, show, show_table

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_GRACE_S = 10.0
_POLL_S = 0.2
# The shell outlives what it runs, to write down how that ended; the trap is for itself alone, since
# a program begins with the usual answers to signals.
_KEEPER = """trap : TERM INT HUP
kept=$1
shift
"$@"
code=$?
echo "$code" > "$kept.part" && mv "$kept.part" "$kept"
"""


def complete_run(incomplete: str) -> list[str]:
    """Return the names of this home's runs that begin so."""
    found = _root().glob("*/run.json")
    return sorted(each.parent.name for each in found if each.parent.name.startswith(incomplete))


Name = Annotated[
    str,
    typer.Argument(help="A run's name; `athanor runs` lists them.", autocompletion=complete_run),
]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    as_given = {"allow_interspersed_args": False, "ignore_unknown_options": True}
    app.command("run", context_settings=as_given)(begin_run)
    app.command("runs")(list_runs)
    app.command("logs")(print_log)
    app.command("end")(end_run)


def begin_run(
    command: Annotated[list[str], typer.Argument(help="The command and its words.")],
    name: Annotated[str, typer.Option(help="Its name; without one the command's.")] = "",
    as_json: AsJson = False,
) -> None:
    """Run a command here that goes on without you: `athanor run -- python train.py`."""
    if shutil.which(command[0]) is None:
        raise Refused(f"There is no command {command[0]!r} here.")
    folder = _make_folder(name, Path(command[0]).name)
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["/bin/sh", "-c", _KEEPER, "athanor-run", str(folder / "exit"), *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={"PYTHONUNBUFFERED": "1"} | os.environ,
        )
    body = {
        "command": command,
        "folder": os.getcwd(),
        "machine": _here(),
        "pid": process.pid,
        "born": _born(process.pid),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    partial = folder / "run.json.part"
    partial.write_text(json.dumps(body), encoding="utf-8")
    partial.replace(folder / "run.json")
    run = _read(folder)
    show(run, as_json, lambda: say(f"{run['name']} runs: `athanor logs {run['name']} -f`."))


def list_runs(as_json: AsJson = False) -> None:
    """List the runs of this home, newest first."""
    folders = _root().iterdir() if _root().is_dir() else []
    found = [_read(each) for each in folders if (each / "run.json").is_file()]
    found.sort(key=lambda run: str(run["started_at"]), reverse=True)
    rows = (
        (
            run["name"],
            _tell_status(run),
            run["machine"],
            run["started_at"],
            " ".join(run["command"]),
        )
        for run in found
    )
    columns = ("name", "status", "on", "started", "command")
    show(found, as_json, lambda: show_table(columns, rows))


def print_log(
    name: Name,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Stay until it ends.")] = False,
) -> None:
    """Print what a run has said; with -f as it says it."""
    folder = _find(name)
    with (folder / "log").open("rb") as log:
        while True:
            # Asked before the rest is read: what was said up to its end is in that rest.
            is_over = not follow or _read(folder)["status"] != "running"
            shutil.copyfileobj(log, sys.stdout.buffer)
            sys.stdout.buffer.flush()
            if is_over:
                return
            time.sleep(_POLL_S)


def end_run(name: Name, as_json: AsJson = False) -> None:
    """End a run with all it has started: asked first, made to after ten seconds."""
    folder = _find(name)
    run = _read(folder)
    if run["status"] == "elsewhere":
        raise Refused(f"{name} is on {run['machine']}: end it there.")
    if run["status"] == "running":
        _end_group(run["pid"])
        if not (folder / "exit").exists():
            (folder / "exit").write_text(f"{128 + signal.SIGKILL}\n")
    run = _read(folder)
    show(run, as_json, lambda: say(f"{name} is {_tell_status(run)}."))


def _end_group(leader: int) -> None:
    for number, patience_s in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(leader, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if not _has_group(leader):
                return
            time.sleep(0.05)


def _has_group(leader: int) -> bool:
    """Whether anything of a process group lives, dead ones that nobody has buried aside."""
    if not Path("/proc/self/stat").exists():
        try:
            os.killpg(leader, 0)
        except ProcessLookupError:
            return False
        return True
    for entry in Path("/proc").iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdigit() else []
        if fields and fields[2] == str(leader) and fields[0] not in "ZX":
            return True
    return False


def _root() -> Path:
    return Path.home() / ".athanor" / "runs"


def _here() -> str:
    return os.environ.get("ATHANOR_MACHINE") or socket.gethostname()


def _make_folder(name: str, program: str) -> Path:
    if name and not _NAME.fullmatch(name):
        raise Refused(f"{name[:80]!r} cannot be a run's name: use letters, digits, ., _ and -.")
    _root().mkdir(mode=0o700, parents=True, exist_ok=True)
    base = re.sub(r"[^A-Za-z0-9._-]", "-", program).lstrip("._-")[:56] or "run"
    for number in range(1, 10_000):
        chosen = name or (base if number == 1 else f"{base}-{number}")
        try:
            (_root() / chosen).mkdir(mode=0o700)
        except FileExistsError:
            if name:
                raise Refused(
                    f"There is a run {name!r} already: choose another name, or remove "
                    f"{_root() / name} first."
                ) from None
        else:
            return _root() / chosen
    raise Refused(f"There are too many runs: remove some of {_root()}.")


def _find(name: str) -> Path:
    folder = _root() / name
    if not _NAME.fullmatch(name) or not (folder / "run.json").is_file():
        raise Refused(f"There is no run {name[:80]!r}: `athanor runs` lists them.")
    return folder


def _read(folder: Path) -> Json:
    """Return a run with its status: running, ended, lost (its machine stopped) or elsewhere."""
    try:
        run = dict(json.loads((folder / "run.json").read_text(encoding="utf-8")))
        pid, born = int(run["pid"]), str(run["born"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"{folder / 'run.json'} cannot be read: remove {folder}.") from error
    # Alive is asked first: one that ends in between has written down how.
    is_alive = run["machine"] == _here() and _born(pid) == born != ""
    exit_code = _read_exit(folder / "exit")
    if exit_code is not None:
        status = "ended"
    elif run["machine"] != _here():
        status = "elsewhere"
    else:
        status = "running" if is_alive else "lost"
    return run | {"name": folder.name, "status": status, "exit_code": exit_code}


def _read_exit(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _tell_status(run: Json) -> str:
    return f"ended {run['exit_code']}" if run["status"] == "ended" else str(run["status"])


def _born(pid: int) -> str:
    """Return what tells a process from a later one of the same number; blank if it has ended."""
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except OSError:
            return ""
        return str(pid)
    fields = _stat(pid)
    return "" if not fields or fields[0] in "ZX" else fields[19]


def _stat(pid: int) -> list[str]:
    """Return a process's fields of proc(5) from its state on; none where there is no process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return []
