"""Orders that come twice, late or after a cancel: one start, or none."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from celery import Celery

from tests.faults.owner import Launched, Owner, check_log
from tests.live import LiveStudio, wait_for
from workers.node_dir import NodeDir
from workers.orders import RunOrder, ping_node, send_run_order

pytestmark = [pytest.mark.fault, pytest.mark.slow]


@pytest.fixture(scope="module")
def broker(redis_socket: Path) -> Celery:
    url = f"redis+socket://{redis_socket}"
    return Celery("test", broker=url, backend=url)


@contextmanager
def asleep(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def deliver_again(broker: Celery, order: RunOrder) -> None:
    """Send an order twice more, and wait until the worker has taken both."""
    for _ in range(2):
        send_run_order(broker, order, node="local")
    assert ping_node(broker, node="local", timeout_s=30)


def read_order(launched: Launched) -> RunOrder:
    order = launched.run_dir().read_order()
    assert order is not None
    return order


def node_of(furnace: LiveStudio) -> NodeDir:
    return NodeDir(furnace.data_dir / "node")


def test_an_order_delivered_again_in_mid_run_and_after_the_end_starts_nothing(
    furnace: LiveStudio, alice: Owner, broker: Celery
) -> None:
    launched = alice.launch()
    launched.wait_training()
    order, processes = read_order(launched), launched.processes()
    deliver_again(broker, order)
    wait_for("the spool to be empty", lambda: not node_of(furnace).list_orders())
    assert launched.processes() == processes
    launched.stop()
    launched.wait_final()
    deliver_again(broker, order)
    wait_for("the spool to be empty", lambda: not node_of(furnace).list_orders())
    assert launched.processes() == processes
    assert not processes.recorder.is_alive()
    check_log(launched)


def test_an_order_whose_job_was_cancelled_before_the_claim_starts_nothing(
    furnace: LiveStudio, alice: Owner, broker: Celery
) -> None:
    node = node_of(furnace)
    with asleep(furnace.pids()["supervisor"]):
        launched = alice.launch()
        path = node.orders / f"{launched.run_id}.json"
        wait_for("the order on disk", path.exists)
        order = RunOrder.model_validate_json(path.read_bytes())
        launched.stop()
        job = launched.wait("the cancel", lambda job: job["status"] == "stopped")
    wait_for("the order to be dropped", lambda: not path.exists())
    deliver_again(broker, order)
    wait_for("the spool to be empty", lambda: not node.list_orders())
    assert node.find_run(order.run_id) is None
    assert job["cost_mpoints"] == 0
    assert launched.get()["held_mpoints"] == 0
