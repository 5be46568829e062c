"""The commands behind the Makefile: up, down, demo, and Django's own with the right environment."""

import argparse
import fcntl
import os
import signal
import subprocess
import sys
import time

from studio.up.leftovers import end_old_parts, stop_runs
from studio.up.parent import AlreadyRunning
from studio.up.places import PYTHON, ROOT, BadSetting, Places, find_places, make_places

_STOP_S = 40.0


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command and return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        places = find_places()
        return int(options.run(places, options))
    except (BadSetting, AlreadyRunning) as error:
        print(f"athanor: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m studio.cli", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="run a studio here until Ctrl-C")
    up.add_argument("--verbose", action="store_true", help="show every part's output as well")
    up.set_defaults(run=_up)
    down = commands.add_parser("down", help="stop the studio and end its runs")
    down.set_defaults(run=_down)
    demo = commands.add_parser("demo", help="walk the whole journey through the public API")
    demo.set_defaults(run=_demo)
    manage = commands.add_parser("manage", help="Django's commands on this studio's data")
    manage.add_argument("arguments", nargs=argparse.REMAINDER)
    manage.set_defaults(run=_manage)
    return parser


def _up(places: Places, options: argparse.Namespace) -> int:
    from studio.up.start import run_up  # asyncio, httpx and rich: `down` and `manage` need none

    return run_up(places, verbose=options.verbose)


def _down(places: Places, options: argparse.Namespace) -> int:
    parent = find_parent(places)
    if parent:
        os.kill(parent, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_S
        while find_parent(places) and time.monotonic() < deadline:
            time.sleep(0.1)
    if find_parent(places):
        print(f"athanor: process {parent} does not stop; end it by hand.", file=sys.stderr)
        return 1
    end_old_parts(places)
    number = stop_runs(places)
    what = "The studio is stopped." if parent else f"No studio runs on {places.data_dir}."
    print(f"{what} Runs ended: {number}.")
    return 0


def find_parent(places: Places) -> int | None:
    """Return the pid of the parent that holds this data directory, None where none does."""
    try:
        with places.lock_file.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read().strip() or 0) or None
    except FileNotFoundError:
        pass
    return None


def _manage(places: Places, options: argparse.Namespace) -> int:
    make_places(places)
    command = [PYTHON, str(ROOT / "manage.py"), *options.arguments]
    return subprocess.run(command, env=places.command_env(), check=False).returncode


def _demo(places: Places, options: argparse.Namespace) -> int:
    from studio.up.demo import run_demo

    return run_demo(places, running=find_parent(places) is not None)


if __name__ == "__main__":
    sys.exit(main())
