"""`python -m workers.environments`: an operator's commands for a node's prebuilt environments."""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from workers.environments.build import Recipe, build_environment
from workers.environments.store import EnvironmentFault, EnvironmentStore, Facts
from workers.errors import WorkerError
from workers.node_dir import NodeDir

_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if not options.node_dir or not Path(options.node_dir).is_absolute():
            raise EnvironmentFault("Set ATHANOR_NODE_DIR to the node's folder, or pass --node-dir.")
        store = EnvironmentStore(NodeDir(Path(options.node_dir)).share / "envs")
        options.run(store, options)
    except WorkerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workers.environments", description=__doc__)
    parser.add_argument("--node-dir", default=os.environ.get("ATHANOR_NODE_DIR", ""))
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="make a new version of an environment")
    build.add_argument("name")
    build.add_argument("recipe", type=Path, help="requirements of pip")
    build.add_argument("--image", required=True, help="of the machines that will use it")
    build.add_argument("--script", action="store_true", help="the recipe is a script for sh")
    build.add_argument("--wheels", type=Path, help="a folder of wheels to look into as well")
    build.add_argument("--network", help="the engine's network to build in")
    build.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    build.add_argument("--about", default="", help="what people read beside its name")
    build.set_defaults(run=_build)
    listing = commands.add_parser("list", help="list all versions")
    listing.add_argument("--json", action="store_true", dest="as_json")
    listing.set_defaults(run=_list)
    use = commands.add_parser("use", help="have a name stand for another of its versions")
    use.add_argument("name")
    use.add_argument("version")
    use.set_defaults(run=lambda store, given: store.use(given.name, given.version))
    remove = commands.add_parser("remove", help="take a name from sight, or a version from disk")
    remove.add_argument("name")
    remove.add_argument("version", nargs="?", default="", help="its clones break")
    remove.set_defaults(run=lambda store, given: store.remove(given.name, given.version))
    return parser


def _build(store: EnvironmentStore, given: argparse.Namespace) -> None:
    recipe = Recipe(
        file=given.recipe,
        image=given.image,
        is_script=given.script,
        wheels=given.wheels,
        network=given.network,
        environment=dict(_read_variable(each) for each in given.env),
        about=given.about,
    )
    facts = build_environment(store, given.name, recipe, tell=_say)
    print(f"{_tell(facts)}; machines see it now.")


def _list(store: EnvironmentStore, given: argparse.Namespace) -> None:
    found = list(store.list_all())
    if given.as_json:
        print(json.dumps([asdict(facts) | {"is_current": current} for facts, current in found]))
        return
    for facts, current in found:
        print(f"{'*' if current else ' '} {_tell(facts)}  {facts.about}".rstrip())


def _tell(facts: Facts) -> str:
    size = f"{facts.num_bytes / 2**30:.2f} GiB in {facts.num_files:,} files"
    packages = f"{facts.num_packages} packages"
    return f"{facts.name} {facts.version}: Python {facts.python}, {packages}, {size}"


def _say(chunk: bytes) -> None:
    sys.stderr.buffer.write(chunk)
    sys.stderr.buffer.flush()


def _read_variable(text: str) -> tuple[str, str]:
    found = _VARIABLE.fullmatch(text)
    if found is None:
        raise EnvironmentFault(f"--env {text[:80]!r}: write NAME=VALUE.")
    return found[1], found[2]


if __name__ == "__main__":
    sys.exit(main())
