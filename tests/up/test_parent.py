"""The parent with small parts of our own: real processes, real signals."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from studio.up.leftovers import end_old_parts
from studio.up.parent import AlreadyRunning, Parent, Part, hold_data_dir
from studio.up.places import ROOT, Places, make_places

SLEEPER = "import time\nprint('awake', flush=True)\ntime.sleep(600)\n"
STUBBORN = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SLEEPER
# What `make up` is to its studio, this is to two sleepers.
PARENT = """
import asyncio, os, sys
from pathlib import Path
from studio.up.parent import Parent, Part, hold_data_dir
from studio.up.places import Places, make_places

async def main(places):
    parent = Parent(places, verbose=False)
    env = {**os.environ, "ATHANOR_HOUSE": str(places.data_dir)}
    for name, source in (("one", sys.argv[2]), ("two", sys.argv[2])):
        parent.start(Part(name, (sys.executable, "-c", source), env))
    await asyncio.Event().wait()

places = Places(data_dir=Path(sys.argv[1]), port=1)
make_places(places)
with hold_data_dir(places):
    asyncio.run(main(places))
"""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = Places(data_dir=tmp_path / "data", port=1)
    make_places(places)
    return places


@pytest.fixture
def start_parent(places: Places) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    started = []

    def start(source: str = SLEEPER) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", PARENT, str(places.data_dir), source]
        started.append(subprocess.Popen(command, cwd=ROOT))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def read_pids(places: Places) -> dict[str, int]:
    try:
        return json.loads(places.pids_file.read_text())
    except FileNotFoundError:
        return {}


def until(check: Callable[[], object], *, timeout_s: float = 20.0) -> object:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if answer := check():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s} s: {check}")


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_part_that_dies_is_started_again(places, start_parent):
    start_parent()
    before = until(lambda: len(read_pids(places)) == 2 and read_pids(places))
    os.kill(before["one"], signal.SIGKILL)
    until(lambda: read_pids(places).get("one") not in {None, before["one"]})
    assert read_pids(places)["two"] == before["two"]


def test_parts_die_with_a_parent_that_is_killed(places, start_parent):
    parent = start_parent()
    pids = until(lambda: len(read_pids(places)) == 2 and read_pids(places))
    parent.kill()
    until(lambda: all(is_gone(pid) for pid in pids.values()))


def test_a_second_parent_is_refused_in_one_sentence(places, start_parent):
    first = start_parent()
    until(lambda: len(read_pids(places)) == 2)
    with pytest.raises(AlreadyRunning, match=f"already runs on .* \\(process {first.pid}\\)"):
        hold_data_dir(places)


def test_the_lock_and_pids_of_a_dead_parent_are_stale(places):
    places.lock_file.write_text("4194304")
    places.pids_file.write_text(json.dumps({"web": os.getpid()}))  # a stranger has this pid now
    end_old_parts(places)
    with hold_data_dir(places) as lock:
        lock.seek(0)
        assert lock.read() == str(os.getpid())


def test_a_torn_pids_file_is_no_obstacle(places):
    places.pids_file.write_text('{"web": 1')
    end_old_parts(places)


def test_parts_that_outlive_a_killed_parent_are_ended_by_the_next(
    places, start_parent, monkeypatch
):
    monkeypatch.setattr("studio.up.leftovers._ENDING_S", 0.2)
    parent = start_parent(STUBBORN)
    until(lambda: (places.log_dir / "two.log").exists() and len(read_pids(places)) == 2)
    until(lambda: "awake" in (places.log_dir / "two.log").read_text())
    until(lambda: "awake" in (places.log_dir / "one.log").read_text())
    pids = read_pids(places)
    parent.kill()
    parent.wait()
    end_old_parts(places)
    assert all(is_gone(pid) for pid in pids.values())
    assert read_pids(places) == {}


def run_for_a_while(places: Places, parts: list[Part], *, until_true: Callable[[], object]) -> None:
    async def live() -> None:
        parent = Parent(places, verbose=False)
        for part in parts:
            parent.start(part)
        deadline = time.monotonic() + 20
        while not until_true() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        await parent.stop(last=["redis"])

    asyncio.run(live())


def test_output_lands_in_a_log_of_the_part(places):
    source = "import sys\nprint('to out')\nprint('to err', file=sys.stderr)\n"
    source += "sys.stdout.buffer.write(b'\\xff no newline')\nsys.stdout.flush()\n" + SLEEPER
    log = places.log_dir / "loud.log"
    part = Part("loud", (sys.executable, "-u", "-c", source), dict(os.environ))

    run_for_a_while(places, [part], until_true=lambda: log.exists() and "to err" in log.read_text())

    assert log.read_text().splitlines()[:2] == ["to out", "to err"]
    assert log.read_text().splitlines()[2] == "\ufffd no newlineawake"


def test_a_part_is_kept_alive_where_its_pid_cannot_be_written(places):
    places.pids_file.with_suffix(".new").mkdir()
    log = places.log_dir / "short.log"
    part = Part("short", (sys.executable, "-c", "print('again')"), dict(os.environ))

    run_for_a_while(
        places, [part], until_true=lambda: log.exists() and log.read_text().count("again") > 1
    )

    assert log.read_text().count("again") > 1


def test_a_part_that_cannot_be_started_is_tried_again(places, tmp_path):
    program, log = tmp_path / "program", places.log_dir / "late.log"

    def install_and_look() -> bool:
        if log.exists() and not program.exists():  # the first try has failed or is about to
            program.write_text("#!/bin/sh\necho came up\n")
            program.chmod(0o700)
        return log.exists() and "came up" in log.read_text()

    run_for_a_while(
        places, [Part("late", (str(program),), dict(os.environ))], until_true=install_and_look
    )

    assert "came up" in log.read_text()


def test_redis_stops_after_the_parts_that_use_it(places, tmp_path):
    order = tmp_path / "order"
    source = (
        "import signal, sys, time\n"
        "def end(*_):\n    open({order!r}, 'a').write({name!r} + ' ')\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\nprint('ready', flush=True)\ntime.sleep(600)\n"
    )
    parts = [
        Part(
            name,
            (sys.executable, "-c", source.format(order=str(order), name=name)),
            dict(os.environ),
        )
        for name in ("redis", "web")
    ]
    logs = [places.log_dir / f"{part.name}.log" for part in parts]

    run_for_a_while(
        places,
        parts,
        until_true=lambda: all(log.exists() and "ready" in log.read_text() for log in logs),
    )

    assert order.read_text() == "web redis "
