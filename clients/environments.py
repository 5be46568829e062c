"""`athanor env`: the prebuilt Python environments of a node, and clones of them to install into.

A clone is a virtual environment of its own in front of the shared one, which it reads where it is:
made in a moment whatever its size. What is installed goes to the clone, and comes first.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from clients.api import Json
from clients.environment_copy import copy_tree, point_scripts_here
from clients.terminal import AsJson, Refused, console, format_bytes, say, show, show_table

_FACTS = ".athanor-env.json"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_ODD = ":\"'$`\\\n"  # scripts that begin with the path could not be read
_PATIENCE_S = 120
# site.py runs a line that begins with `import`: what is shared comes last, with its own .pth files.
_PTH = (
    "import os, site, sys; p = {packages!r}; site.addsitedir(p) if os.path.isdir(p) else "
    "print({gone!r}, file=sys.stderr)\n"
)
_GONE = (
    "athanor: the shared environment {name} {version} is not on this node, so its packages are "
    "missing here; `athanor env list` shows what there is."
)

app = typer.Typer(no_args_is_help=True, help="Prebuilt Python environments: list, clone.")


@dataclass(frozen=True)
class Shared:
    """A version of a shared environment, as its operator left it."""

    name: str
    version: str
    path: Path
    facts: Json

    @property
    def packages(self) -> Path:
        """Where its packages are."""
        return self.path / "lib" / f"python{self.facts['python']}" / "site-packages"


def complete_environment(incomplete: str) -> list[str]:
    """Return the names that begin so."""
    return [each.name for each in _list_shared() if each.name.startswith(incomplete)]


Environment = Annotated[
    str,
    typer.Argument(
        help="Its name, or NAME@VERSION; see `athanor env list`.",
        autocompletion=complete_environment,
    ),
]


@app.command("list")
def list_environments(as_json: AsJson = False) -> None:
    """List the environments that this machine's node has prebuilt."""
    found = list(_list_shared())
    if not found and not as_json:
        say(f"There are no shared environments here: operators put them at {_root()}.")
        return
    rows = (
        (
            each.name,
            each.version,
            str(each.facts["python"]),
            str(each.facts["num_packages"]),
            format_bytes(each.facts["num_bytes"]),
            str(each.facts["about"]),
        )
        for each in found
    )
    columns = ("name", "version", "python", "packages", "size", "about")
    bodies = [_public(each) for each in found]
    show(bodies, as_json, lambda: show_table(columns, rows))


@app.command("clone")
def clone_environment(
    name: Environment,
    path: Annotated[
        Path | None, typer.Argument(help="Where to; else ~/envs/NAME.", show_default=False)
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Copy all of it, so that it stands without the shared.")
    ] = False,
    kernel: Annotated[
        bool,
        typer.Option("--kernel", help="Offer it in notebooks as well, under its folder's name."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make an environment of your own from a shared one, to install into as you like."""
    shared = _find(name)
    if kernel:
        _check_kernel(shared.path / "bin" / "python", f"The environment {shared.name}")
    target = _check_target(path or Path.home() / "envs" / shared.name)
    with _undone_on_failure(target):
        if full:
            _copy(shared, target, is_quiet=as_json)
        else:
            _overlay(shared, target)
        kept = {"name": shared.name, "version": shared.version, "is_full": full}
        (target / _FACTS).write_text(json.dumps(kept), encoding="utf-8")
        spec = _add_kernel(target, target.name) if kernel else None
    body = kept | {"path": str(target), "kernel": str(spec) if spec else None}
    show(body, as_json, lambda: _tell_clone(body))


@app.command("kernel")
def add_kernel(
    path: Annotated[Path, typer.Argument(help="An environment's folder, such as ~/envs/NAME.")],
    name: Annotated[str, typer.Option(help="What notebooks call it; else the folder's name.")] = "",
    as_json: AsJson = False,
) -> None:
    """Offer an environment of yours in notebooks."""
    target = Path(os.path.abspath(path))
    if not (target / "bin" / "python").exists():
        raise Refused(f"{target} is no environment: it has no bin/python.")
    _check_kernel(target / "bin" / "python", f"{target}")
    spec = _add_kernel(target, name or target.name)
    show({"kernel": str(spec)}, as_json, lambda: say(f"Notebooks offer it: {spec}"))


def _root() -> Path:
    return Path(os.environ.get("ATHANOR_ENVS_DIR") or "/share/envs")


def _public(shared: Shared) -> Json:
    told = ("name", "version", "python", "kind", "about", "num_packages", "num_files", "num_bytes")
    return {name: shared.facts[name] for name in told} | {"path": str(shared.path)}


def _list_shared() -> Iterator[Shared]:
    try:
        names = sorted(each.name for each in _root().iterdir() if _NAME.fullmatch(each.name))
    except OSError:
        return
    for name in names:
        found = _read(_root() / name)
        if found is not None:
            yield found


def _read(link: Path) -> Shared | None:
    # The version itself, not the name: that may stand for another one tomorrow.
    path = Path(os.path.realpath(link))
    try:
        facts = json.loads((path / _FACTS).read_text(encoding="utf-8"))
        return Shared(str(facts["name"]), str(facts["version"]), path, facts)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _find(name: str) -> Shared:
    plain, _, version = name.partition("@")
    if _NAME.fullmatch(plain) and re.fullmatch(r"[\d.]*", version):
        link = _root() / ".versions" / plain / version if version else _root() / plain
        found = _read(link)
        if found is not None:
            return found
    raise Refused(f"There is no environment {name[:80]!r} here: `athanor env list` shows them.")


def _check_target(path: Path) -> Path:
    target = Path(os.path.abspath(path.expanduser()))
    if odd := sorted(set(str(target)) & set(_ODD)):
        raise Refused(f"{str(target)!r} cannot be an environment's path: it has {odd[0]!r} in it.")
    try:
        if target.is_symlink() or (
            target.exists() and (not target.is_dir() or any(target.iterdir()))
        ):
            raise Refused(f"{target} is there already: choose another path, or remove it first.")
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Refused(f"{target} cannot be made: {error.strerror}.") from error
    if not os.access(target.parent, os.W_OK):
        raise Refused(f"{target} cannot be made: {target.parent} may not be written to.")
    return target


@contextmanager
def _undone_on_failure(target: Path) -> Iterator[None]:
    """Leave nothing half made; what the disk or the other program says is one sentence."""
    try:
        yield
    except BaseException as error:
        shutil.rmtree(target, ignore_errors=True)
        if isinstance(error, OSError):
            raise Refused(f"{target} cannot be made: {error.strerror or error}.") from error
        raise


def _overlay(shared: Shared, target: Path) -> None:
    """Make a virtual environment that goes on in the shared one."""
    python = shared.path / "bin" / "python"
    _run(shared, [str(python), "-I", "-m", "venv", "--without-pip", str(target)])
    own = target / "lib" / f"python{shared.facts['python']}" / "site-packages"
    gone = _GONE.format(name=shared.name, version=shared.version)
    pth = _PTH.format(packages=str(shared.packages), gone=gone)
    (own / "_athanor_shared.pth").write_text(pth, encoding="utf-8")
    point_scripts_here(shared.path, target, str(shared.facts["prefix"]))
    if not (shared.packages / "pip").is_dir():
        _run(shared, [str(target / "bin" / "python"), "-I", "-m", "ensurepip", "--default-pip"])


def _copy(shared: Shared, target: Path, *, is_quiet: bool) -> None:
    with _progress(shared, is_quiet=is_quiet) as advance:
        copy_tree(shared.path, target, shared.facts, advance)
    _run(shared, [str(target / "bin" / "python"), "-I", "-c", ""])


@contextmanager
def _progress(shared: Shared, *, is_quiet: bool) -> Iterator[Callable[[int], None]]:
    columns = (BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=is_quiet) as bar:
        row = bar.add_task("", total=max(1, int(shared.facts["num_bytes"])))
        yield lambda count: bar.advance(row, count)


def _run(shared: Shared, words: list[str]) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PIP_", "VIRTUAL_"))}
    try:
        done = subprocess.run(
            words, env=env, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(
            f"{shared.name} does not run here: {words[0]}: {error}. Is it for another image?"
        ) from error
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-300:]
        raise Refused(f"{shared.name} cannot be cloned: {said}")


def _check_kernel(python: Path, whose: str) -> None:
    words = [str(python), "-I", "-c", "import ipykernel"]
    try:
        done = subprocess.run(words, capture_output=True, timeout=_PATIENCE_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refused(f"{python} does not run here: {error}.") from error
    if done.returncode:
        raise Refused(
            f"{whose} has no ipykernel, which notebooks need: leave --kernel out, "
            "`pip install ipykernel` into the clone, then `athanor env kernel PATH`."
        )


def _add_kernel(target: Path, name: str) -> Path:
    """Write a kernel's description where Jupyter looks; return its folder."""
    key = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.") or "env"
    data = os.environ.get("JUPYTER_DATA_DIR") or Path.home() / ".local" / "share" / "jupyter"
    folder = Path(data) / "kernels" / key
    words = [str(target / "bin" / "python"), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    # Commands of a notebook, such as `!pip`, shall be the environment's too.
    env = {"VIRTUAL_ENV": str(target), "PATH": f"{target / 'bin'}:${{PATH}}"}
    body = {"argv": words, "display_name": name, "language": "python", "env": env}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kernel.json").write_text(json.dumps(body, indent=1), encoding="utf-8")
    return folder


def _tell_clone(body: Json) -> None:
    say(f"{body['path']} is yours: `source {body['path']}/bin/activate`, then `pip install`.")
    if not body["is_full"]:
        say(f"It reads {body['name']} {body['version']} where it is, on nodes that have it.")
    if body["kernel"]:
        say(f"Notebooks offer it: {body['kernel']}")
    sys.stdout.flush()
