"""Engines that crash, are killed, or write anything at all: the right reason, and every byte."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.hostile_engine import GARBAGE
from tests.faults.owner import Launched, Owner
from tests.faults.parts import Process, make_worker
from tests.live import LiveStudio, wait_for

pytestmark = [pytest.mark.fault, pytest.mark.slow]

NODE = "hostile"


@pytest.fixture(scope="module")
def node_dir(
    furnace: LiveStudio, redis_socket: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A second node whose engines are hostile; the studio's own is asleep meanwhile."""
    folder = tmp_path_factory.mktemp("hostile")
    env = {
        "ATHANOR_STUDIO_URL": furnace.url,
        "ATHANOR_NODE_TOKEN": furnace.manage("node_token", NODE).splitlines()[-1],
        "ATHANOR_BROKER_URL": f"redis+socket://{redis_socket}",
        "ATHANOR_NODE_NAME": NODE,
        "ATHANOR_NODE_DIR": str(folder / "node"),
    }
    worker = make_worker(folder, queue=f"node.{NODE}")
    parts = [
        Process(worker.command, worker.log, env),
        Process((sys.executable, "-m", "workers", "report"), folder / "reporter.log", env),
        Process(
            (sys.executable, "-m", "tests.faults.hostile_node"), folder / "supervisor.log", env
        ),
    ]
    local = furnace.pids()["supervisor"]
    os.kill(local, signal.SIGSTOP)
    for part in parts:
        part.start()
    try:
        operator = furnace.client("olga", role="operator")

        def is_alone() -> bool:
            online = {n["name"] for n in operator.get("/api/nodes/").json() if n["is_online"]}
            return online == {NODE}

        wait_for("the hostile node to be the only one", is_alone, timeout_s=90)
        yield folder / "node"
    finally:
        for part in parts:
            part.kill()
        os.kill(local, signal.SIGCONT)


@pytest.mark.parametrize(
    ("engine", "status", "reason"),
    [
        ("crash", "failed", "crashed"),
        ("fail", "failed", "crashed"),
        ("killed", "failed", "killed"),
        ("garbage", "succeeded", "completed"),
        ("long-line", "succeeded", "completed"),
        ("invalid-utf8", "succeeded", "completed"),
        ("bars", "succeeded", "completed"),
    ],
)
def test_a_hostile_engine_ends_with_its_reason_and_every_byte_of_its_log(
    node_dir: Path, alice: Owner, engine: str, status: str, reason: str
) -> None:
    launched = alice.launch(max_steps=5, output=engine)
    job = launched.wait_final()
    assert (job["status"], job["reason"]) == (status, reason)
    written = (node_dir / "runs" / launched.run_id / "written").read_bytes()
    downloaded = launched.download_log()
    shown = downloaded
    if engine == "garbage":  # what is no event lies between the bytes of the log
        for line in GARBAGE:
            assert line + b"\n" in shown
            shown = shown.replace(line + b"\n", b"", 1)
    assert shown == written
    assert job["run"]["log_bytes"] == len(downloaded)
    assert job["run"]["log_complete"] is True


def test_a_run_that_takes_too_much_memory_ends_with_both_numbers(
    node_dir: Path, alice: Owner
) -> None:
    job = alice.launch(max_steps=5, output="memory").wait_final()
    assert (job["status"], job["reason"]) == ("failed", "out_of_memory")
    message = job["message"]
    assert "4.00 GiB" in message
    assert message.count("GiB") == 2


def test_a_hostile_log_is_shown_line_by_line(node_dir: Path, alice: Owner) -> None:
    launched: Launched = alice.launch(max_steps=5, output="bars")
    launched.wait_final()
    log = alice.http.get(f"/api/runs/{launched.run_id}/log/").json()
    assert log["complete"] is True
    assert log["lines"][-1].strip() == "done"
