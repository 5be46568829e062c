"""How fast the studio's pages of dev machines are asked for where there are a thousand of them.

    python -m bench.machine_lists [--machines 1000] [--rounds 200]

The machines are rows that a node has told to run; fifty people have twenty each, and one has a
hundred, which the studio's limit of twenty would forbid. SQLite, and a real Redis. Each answer is
timed in this process, so without uvicorn, by the clock and of the processor: the latter is the same
whatever else the machine does. Prints one table and, as its last line, one JSON object.
"""

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine_ways import fill, make_owner, run, start_django, time_placing

MANY = 100
_BATCH = 500
_SELDOM = 10
"""A tenth as often: a list of all is a thousand times one machine."""


def have_many() -> Any:
    """Give one person a hundred machines, and return them."""
    from studio.machines import services
    from studio.points.services import grant_points
    from tests.factories import make_user

    many = make_user("many")
    grant_points(by=None, to=many, mpoints=10**10, note="", key="many")
    limit, services.MOST_MACHINES = services.MOST_MACHINES, MANY
    try:
        for each in range(MANY):
            wish = services.Wish(name=f"m{each}", image="base", flavor="cpu-1", duration_s=36_000)
            services.create_machine(owner=many, wish=wish)
    finally:
        services.MOST_MACHINES = limit
    return many


def tell_all_run(node: Any) -> None:
    """Have the node tell that all its machines run, and how they are at this moment."""
    from studio.machines.models import Machine
    from studio.machines.reports import take_report
    from studio.machines.usage import keep_usage
    from workers.machines.measures import MachineUsage
    from workers.machines.orders import MachinePhase, MachineReport, MachineState

    now = time.time()
    usage = MachineUsage(
        taken_at=now, cores=0.5, cores_limit=1, memory_bytes=2**30, memory_limit_bytes=2**32
    )
    states = [
        MachineState(machine=key, life=1, start=start, phase=MachinePhase.RUNNING, usage=usage)
        for key, start in Machine.objects.values_list("key", "start")
    ]
    told = MachineReport(engine="26", machines=states, relay_host="127.0.0.1", relay_port=1)
    take_report(node=node, report=told)
    keep_usage(node=node, report=told)


def keep_day(machine: Any) -> None:
    """Give a machine the minutes of a whole day, as its panel shows them."""
    from studio.machines.models import UsageMinute

    now = int(time.time() // 60)
    rows = [
        UsageMinute(machine=machine, minute=now - each, cores=0.5, memory_bytes=2**30)
        for each in range(1, 24 * 60)
    ]
    UsageMinute.objects.bulk_create(rows, batch_size=_BATCH)


def sign_in(user: Any) -> Any:
    from django.test import Client

    browser = Client(SERVER_NAME="127.0.0.1")
    browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return browser


def time_answers(browsers: list[Any], path: Callable[[int], str], rounds: int) -> dict[str, Any]:
    """Return what answers took, in ms: p50 and p95 by the clock, and the same of the processor."""
    clock, cpu, size = [], [], 0
    for number in range(-1, rounds):
        browser = browsers[number % len(browsers)]
        begun, spent = time.perf_counter(), time.process_time()
        answer = browser.get(path(number))
        took = 1000 * (time.perf_counter() - begun), 1000 * (time.process_time() - spent)
        assert answer.status_code == 200, answer.content
        if number >= 0:  # the first has loaded what it needed
            clock.append(took[0])
            cpu.append(took[1])
        size = len(answer.content)
    told: dict[str, Any] = {"kib": round(size / 1024, 1), "times": rounds}
    for name, values in (("", clock), ("cpu_", cpu)):
        ordered = sorted(values)
        told[f"{name}p50_ms"] = round(ordered[len(ordered) // 2], 1)
        told[f"{name}p95_ms"] = round(ordered[int(0.95 * len(ordered))], 1)
    return told


def measure(number: int, rounds: int) -> dict[str, Any]:
    """Return what each of the pages' questions took, with so many machines beside the hundred."""
    from studio.machines.models import Machine
    from tests.factories import make_user

    _, node = make_owner()
    owners, many = fill(number), have_many()
    time_placing(node, number + MANY)
    tell_all_run(node)
    keys = [
        Machine.objects.filter(owner=owner).values_list("key", flat=True)[0] for owner in owners
    ]
    for key in keys:
        keep_day(Machine.objects.get(key=key))
    people, olga = (
        [sign_in(owner) for owner in owners],
        [sign_in(make_user("olga", role="operator"))],
    )

    def of_one(tail: str) -> Callable[[int], str]:
        return lambda number: f"/api/machines/{keys[number % len(keys)]}/{tail}"

    seldom = max(2, rounds // _SELDOM)
    asked = {
        "one machine": (people, of_one(""), rounds),
        "its panel, with a day's minutes": (people, of_one("usage/"), rounds),
        "its ports": (people, of_one("ports/"), rounds),
        "options of a new one": (people, lambda _: "/api/machines/options/", rounds),
        "a list of 20": (people, lambda _: "/api/machines/", rounds),
        "a list of 100": ([sign_in(many)], lambda _: "/api/machines/", rounds),
        "an operator's list of all": ([olga], lambda _: "/api/machines/?all=1", seldom),
        "an operator's nodes": ([olga], lambda _: "/api/nodes/", seldom),
    }
    return {name: time_answers(*question) for name, question in asked.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--machines", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="athanor-bench-"))
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        start_django(folder)
        at = folder / "redis.sock"
        stack.enter_context(
            run("redis-server", "--port", "0", "--unixsocket", str(at), "--save", "")
        )
        while not at.exists():
            time.sleep(0.05)
        told = measure(options.machines, options.rounds)
    columns = ("p50_ms", "p95_ms", "cpu_p50_ms", "cpu_p95_ms", "kib", "times")
    table = Table("asked for", *columns)
    for name, row in told.items():
        table.add_row(name, *(str(row[column]) for column in columns))
    Console(width=140).print(table)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
