"""How long a person waits for a dev machine: from the click on *Create* to a usable VS Code.

    python bench/machine_start.py --url http://127.0.0.1:8600 --token ath_... [--image base]

Runs against a studio that is already up and whose node has a Docker engine, through its public API
and the machine's own web address, as the browser does. One machine after the other, and then many
at once. Whether they come from the warm pool is the node's setting: run it once with and once
without. Prints one table and, as its last line, one JSON object.
"""

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

PHASES = ("answered", "placed", "running", "usable")
LOOK_S = 0.02
PATIENCE_S = 180.0


class Studio:
    """The studio, as one person calls it."""

    def __init__(self, url: str, token: str) -> None:
        """Take its address and whose token."""
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=60)
        self.url = url

    def call(self, method: str, path: str, **body: Any) -> Any:
        """Call the API and return what it answers."""
        answer = self._client.request(method, f"/api/machines/{path}", json=body or None)
        if answer.is_error:
            raise SystemExit(f"{method} {path}: {answer.text}")
        return answer.json() if answer.content else None

    def is_gone(self, key: str) -> bool:
        """Say whether there is no such machine any more."""
        return self._client.get(f"/api/machines/{key}/").status_code == 404


def measure_one(studio: Studio, name: str, wish: dict[str, Any], port: int) -> dict[str, float]:
    """Make a machine, wait until its tool answers, and delete it; seconds from the click."""
    clicked = time.perf_counter()
    made = studio.call("POST", "", name=name, **wish)
    told = {"answered": time.perf_counter() - clicked}
    deadline = clicked + PATIENCE_S
    while "running" not in told:
        status = studio.call("GET", f"{made['key']}/")["status"]
        now = time.perf_counter()
        if status != "queued":
            told.setdefault("placed", now - clicked)
        if status == "running":
            told["running"] = now - clicked
        elif status not in {"queued", "starting"} or now > deadline:
            raise SystemExit(f"{name} is {status} after {now - clicked:.0f} s")
        else:
            time.sleep(LOOK_S)
    await_tool(studio, made["key"], port, deadline)
    told["usable"] = time.perf_counter() - clicked
    studio.call("DELETE", f"{made['key']}/")
    print(name, *(f"{phase} {told[phase]:.2f}" for phase in PHASES), file=sys.stderr, flush=True)
    return told


def await_tool(studio: Studio, key: str, port: int, deadline: float) -> None:
    """Enter as a browser does, and wait until the tool's own page is there."""
    door = httpx.URL(studio.call("POST", f"{key}/enter/", port=port)["url"])
    headers = {"Host": door.netloc.decode()}
    with httpx.Client(base_url=studio.url, headers=headers, timeout=60) as browser:
        entered = browser.get(door.raw_path.decode())
        browser.cookies.clear()
        browser.headers["Cookie"] = entered.headers["set-cookie"].partition(";")[0]
        while time.perf_counter() < deadline:
            page = browser.get("/?folder=/root")
            if page.status_code == 200:
                return
            time.sleep(LOOK_S)
    raise SystemExit(f"{key}: nothing answers at port {port}")


def measure_series(
    studio: Studio, wish: dict[str, Any], options: argparse.Namespace
) -> list[dict[str, float]]:
    """Make one after the other, with a pause in which the node may make a spare one."""
    found = []
    for number in range(options.count):
        found.append(measure_one(studio, f"bench-{number}", wish, options.port))
        time.sleep(options.pause)
    return found


def measure_crowd(
    studio: Studio, wish: dict[str, Any], options: argparse.Namespace
) -> list[dict[str, float]]:
    """Make many at once."""
    names = [f"crowd-{number}" for number in range(options.at_once)]
    with ThreadPoolExecutor(len(names) or 1) as pool:
        going = [pool.submit(measure_one, studio, name, wish, options.port) for name in names]
        return [each.result() for each in going]


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` (0..1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def summarize(found: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return p50 and p95 of each phase, in seconds."""
    return {
        phase: {
            "p50": round(percentile([each[phase] for each in found], 0.5), 3),
            "p95": round(percentile([each[phase] for each in found], 0.95), 3),
        }
        for phase in PHASES
    }


def main() -> None:
    """Measure both, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8600")
    parser.add_argument("--token", required=True)
    parser.add_argument("--image", default="base")
    parser.add_argument("--flavor", default="cpu-1")
    parser.add_argument("--port", type=int, default=8080, help="the tool's; 8080 is VS Code's")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--pause", type=float, default=6.0, help="seconds between two")
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--crowd-flavor", help="of those; one that shares cores lets all start")
    options = parser.parse_args()
    studio = Studio(options.url, options.token)
    wish = {"image": options.image, "flavor": options.flavor, "duration_s": 1800}
    series = measure_series(studio, wish, options)
    results = {"one after the other": summarize(series)} if series else {}
    wish |= {"flavor": options.crowd_flavor or options.flavor}
    if options.at_once:
        results[f"{options.at_once} at once"] = summarize(measure_crowd(studio, wish, options))
    table = Table("seconds from the click", *(f"{p} {q}" for p in PHASES for q in ("p50", "p95")))
    for name, row in results.items():
        table.add_row(name, *(f"{row[p][q]:.2f}" for p in PHASES for q in ("p50", "p95")))
    Console(width=140).print(table)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
