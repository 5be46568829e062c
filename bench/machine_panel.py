"""How long it takes until a machine's panel shows a load that has begun in its container.

    python -m bench.machine_panel [--rounds 20]

A real Docker engine, a real node and a whole studio of the tests' own. A loop begins in the
container, and says when by the clock that all share; the panel's question is asked of the API all
the time, and beside that each two seconds as the page does it. Needs root, and what `make
provision` brings. Prints one table and, as its last line, one JSON object.
"""

import argparse
import json
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.deploy.machines import MachineStudio, run_machine_studio
from tests.live import wait_for

LOOK_S = 0.1
PAGE_S = 2.0
"""How often the page asks, `LIVE_MS` of frontend/src/api/machineQueries.ts."""
PATIENCE_S = 60.0
BUSY_CORES, QUIET_CORES = 0.1, 0.02
"""What counts as a load: on a machine that has other work the loop does not get all of its core."""
_LOOP = "date +%s.%N; exec timeout 60 sh -c 'while :; do :; done'"


class Panel:
    """Asks for what a panel shows, again and again, and knows since when it shows a load."""

    def __init__(self, house: MachineStudio, key: str, every_s: float) -> None:
        self._client = house.studio.client("ada")
        self._path, self._every_s = f"/api/machines/{key}/usage/", every_s
        self._is_over = threading.Event()
        self.cores = 0.0
        self.busy_at: float | None = None
        self.asked_s: list[float] = []
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        since = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime())}Z"
        self._is_over.wait(random.random() * self._every_s)
        while not self._is_over.is_set():
            begun = time.time()
            # As the page, which asks for the new minutes alone.
            live = self._client.get(self._path, params={"since": since}).json()["live"]
            self.asked_s.append(time.time() - begun)
            self.cores = (live or {}).get("cores") or 0.0
            if self.busy_at is None and self.cores >= BUSY_CORES:
                self.busy_at = time.time()
            self._is_over.wait(max(0.0, self._every_s - (time.time() - begun)))

    def is_quiet(self) -> bool:
        return len(self.asked_s) > 3 and self.cores < QUIET_CORES

    @contextmanager
    def running(self) -> Iterator["Panel"]:
        self.thread.start()
        yield self
        self._is_over.set()
        self.thread.join()


def measure_once(house: MachineStudio, box: dict[str, Any]) -> dict[str, float]:
    """Begin a load when all is quiet; return the seconds until each way of asking shows it."""
    name = house.container(box)
    with (
        Panel(house, box["key"], LOOK_S).running() as api,
        Panel(house, box["key"], PAGE_S).running() as page,
    ):
        wait_for("all to be quiet", api.is_quiet, timeout_s=PATIENCE_S)
        api.busy_at = page.busy_at = None
        time.sleep(random.random() * PAGE_S)  # at any moment between two looks of the node's
        loop = subprocess.Popen(
            ["docker", "exec", name, "sh", "-c", _LOOP],
            env=house.docker.env, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert loop.stdout is not None
        begun = float(loop.stdout.readline())
        for panel in (api, page):
            wait_for(
                "the load to be shown", lambda panel=panel: panel.busy_at, timeout_s=PATIENCE_S
            )
        house.inside(box, "pkill -x timeout; pkill -f 'while :'")
        loop.wait(30)
        assert api.busy_at is not None and page.busy_at is not None
        asked_s = sorted(api.asked_s)[len(api.asked_s) // 2]
        return {"api": api.busy_at - begun, "page": page.busy_at - begun, "answer": asked_s}


def sum_up(found: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    told = {}
    for name in found[0]:
        ordered = sorted(each[name] for each in found)
        p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
        told[name] = {"p50_s": ordered[len(ordered) // 2], "p95_s": p95, "max_s": ordered[-1]}
    return {name: {k: round(v, 2) for k, v in row.items()} for name, row in told.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="athanor-panel-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o711)  # a machine's root is nobody out here
        house = stack.enter_context(run_machine_studio(folder / "studio"))
        made = house.create("ada", "box")
        box = house.wait("ada", made["key"], "running", timeout_s=120)
        found = [measure_once(house, box) for _ in range(options.rounds)]
        house.call("ada", "DELETE", f"/api/machines/{made['key']}/")
        wait_for("its container to go", lambda: not house.container(made))
    told = sum_up(found)
    table = Table("from a load's begin until shown by", "p50, s", "p95, s", "largest, s")
    for name, row in told.items():
        table.add_row(name, *(f"{value:.2f}" for value in row.values()))
    Console().print(table)
    print(json.dumps({"rounds": len(found), **told}))


if __name__ == "__main__":
    main()
