"""What machines use, measured by a real node of real containers, and the end of those unused."""

import time

import pytest

from clients.runs import _KEEPER
from tests.live import wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(1500)]
MIB = 2**20
IDLE_S = 60
BURN = "held = b'x' * (300 * 2**20)\nwhile True: pass"  # zeros would take no memory
TYPE = """
import os, pty, time
_, terminal = pty.openpty()
while True:
    os.write(terminal, b".")
    time.sleep(5)
"""


def look(house, box) -> dict:
    return dict(house.call("ada", "GET", f"/api/machines/{box['key']}/usage/").json())


def begin(house, box, *words: str) -> None:
    house.docker.run("docker", "exec", "--detach", house.container(box), *words)


def is_near(one: float, other: float, *, within: float) -> bool:
    return abs(one - other) <= within * max(one, other)


def test_the_panel_tells_within_seconds_what_programs_use_of_what_is_theirs(house, box):
    wait_for("a first look", lambda: (look(house, box)["live"] or {}).get("cores") is not None)
    quiet = look(house, box)["live"]
    assert quiet["memory_bytes"] < 200 * MIB
    begun = time.monotonic()
    for _ in range(2):  # on one core
        begin(house, box, "python3", "-c", BURN)

    seen: list[dict] = []

    def is_told() -> dict | None:
        live = look(house, box)["live"] or {"cores": 0, "memory_bytes": 0}
        seen.append(live)
        # How much of its core it gets is the test machine's affair, which may be busy itself.
        is_busy = live["cores"] > 0.01 + 2 * quiet["cores"]
        return live if is_busy and live["memory_bytes"] > 500 * MIB else None

    try:
        live = wait_for("the burning to be told", is_told, timeout_s=120)
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen[-1]} after {quiet}") from error
    print(f"panel: told {time.monotonic() - begun:.1f} s after it began: {live}")
    limit = box["flavor"]["memory_bytes"]
    assert (live["cores_limit"], live["memory_limit_bytes"]) == (1, limit)
    for _ in range(3):  # the node's clock ticks, and the kernel's budget is of 100 ms
        live = look(house, box)["live"]
        assert live["cores"] <= 1.25 and live["memory_bytes"] <= limit
        time.sleep(2)
    template = "{{.MemUsage}} {{.CPUPerc}}"
    told = house.docker.run(
        *("docker", "stats", "--no-stream", "--format", template), house.container(box)
    ).stdout.split()
    live = look(house, box)["live"]
    assert told[0].endswith("MiB"), told
    assert is_near(float(told[0].removesuffix("MiB")) * MIB, live["memory_bytes"], within=0.15)
    assert house.inside(box, "nproc") == "1\n"
    assert house.look("ada", box["key"])["idle"]["state"] == "active"
    assert house.call("eve", "GET", f"/api/machines/{box['key']}/usage/").status_code == 404


def test_what_nobody_uses_stops_with_the_reason_and_what_runs_goes_on(house):
    house.studio.manage(
        *("machine_image", "add", "quick", house.image, "--tool", "vscode=8080"),
        *("--idle-s", str(IDLE_S)),
    )
    # Each is used as soon as it runs: on a busy test machine the next may take a minute to come.
    made = {"running": come_up(house, "running")}
    begin(
        *(house, made["running"], "/bin/sh", "-c", _KEEPER, "athanor-run", "/root/exit"),
        *("sleep", "600"),
    )
    made["unused"] = come_up(house, "unused")
    house.inside(made["running"], f"head -c {50 * MIB} /dev/zero > /scratch/zeros")
    house.inside(made["running"], f"head -c {20 * MIB} /dev/zero > /var/zeros")

    def is_idle() -> dict | None:
        found = house.look("ada", made["unused"]["key"])
        return found if (found["idle"] or {}).get("state") == "idle" else None

    warned = wait_for("it to be idle", is_idle, timeout_s=300)["idle"]
    assert warned["stops_at"] and warned["idle_s"] == IDLE_S
    stopped = house.wait("ada", made["unused"]["key"], "stopped", timeout_s=300)
    assert stopped["reason"] == "idle"
    assert stopped["message"].startswith("Nothing was connected since"), stopped
    assert not stopped["lease"]["is_open"] and stopped["lease"]["held_mpoints"] == 0
    made["typing"] = come_up(house, "typing")  # only now: the test's node may have two cores
    begin(house, made["typing"], "python3", "-c", TYPE)
    for name, sign in {"running": "run", "typing": "terminal"}.items():
        wait_for(
            f"{name} to go on by its {sign}", lambda n=name, s=sign: goes_by(house, made[n], s)
        )
    usage = wait_for("a minute to be kept", lambda: has_disks(look(house, made["running"])))
    assert usage["live"]["scratch_bytes"] >= 50 * MIB
    assert 20 * MIB <= usage["live"]["layer_bytes"] < 45 * MIB
    for each in made.values():
        house.call("ada", "DELETE", f"/api/machines/{each['key']}/")
    for each in made.values():
        wait_for("its container to go", lambda each=each: not house.container(each))


def come_up(house, name: str) -> dict:
    made = house.create("ada", name, image="quick")
    return dict(house.wait("ada", made["key"], "running", timeout_s=180))


def goes_by(house, box: dict, sign: str) -> bool:
    found = house.look("ada", box["key"])
    assert found["status"] == "running", found
    return (found["idle"]["state"], found["idle"]["sign"]) == ("active", sign)


def has_disks(usage: dict) -> dict | None:
    has_all = usage["minutes"]["at"] and (usage["live"] or {}).get("scratch_bytes")
    return usage if has_all else None
