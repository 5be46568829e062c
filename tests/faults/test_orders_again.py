"""Orders that come twice, late or after a cancel: one start, or none."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from celery import Celery

from tests.faults.owner import Json, Launched, Owner, check_log, check_statement
from tests.live import LiveStudio, wait_for
from workers.node_dir import NodeDir
from workers.orders import START_RUN, RunOrder, ping_node, queue_name, send_run_order

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


def test_a_run_that_its_node_cannot_read_fails_in_words_however_often_it_is_sent(
    furnace: LiveStudio, alice: Owner, broker: Celery
) -> None:
    node = node_of(furnace)
    with asleep(furnace.pids()["supervisor"]), asleep(furnace.pids()["beat"]):
        launched = alice.launch()
        path = node.orders / f"{launched.run_id}.json"
        wait_for("the order on disk", path.exists)
        readable = RunOrder.model_validate_json(path.read_bytes())
        path.unlink()  # instead of it come two that are of a newer studio
        order = json.loads(readable.model_dump_json())
        order["spec"]["not_known_here"] = 1
        send_raw(broker, order, times=2)
        assert json.loads(path.read_bytes())["spec"]["not_known_here"] == 1
    job = launched.wait("the end", lambda job: job["status"] == "failed")
    assert job["run"]["reason"] == "launch_failed"
    assert "cannot read spec.not_known_here" in job["run"]["message"]
    assert (job["cost_mpoints"], job["held_mpoints"]) == (0, 0)
    wait_for("the spool to be empty", lambda: not path.exists())

    send_raw(broker, order, times=2)  # late: it has ended
    wait_for("the spool to be empty", lambda: not node.list_orders())
    deliver_again(broker, readable)
    wait_for("the spool to be empty", lambda: not node.list_orders())
    assert node.find_run(readable.run_id) is None
    assert launched.get()["run"]["reason"] == "launch_failed"
    check_statement(alice)


def test_a_refusal_by_a_token_of_before_leaves_the_run_to_the_node_that_has_it_now(
    furnace: LiveStudio, alice: Owner, broker: Celery
) -> None:
    node = node_of(furnace)
    with asleep(furnace.pids()["supervisor"]):
        launched = alice.launch()
        path = node.orders / f"{launched.run_id}.json"
        wait_for("the order on disk", path.exists)
        before = RunOrder.model_validate_json(path.read_bytes())
        furnace.manage(
            "shell",
            "-c",
            "from django.db.models import F; from studio.jobs.models import Run; "
            f"Run.objects.filter(pk='{launched.run_id}')"
            ".update(placement_number=F('placement_number') + 1, order_sent_at=None)",
        )
        answer = httpx.post(
            f"{furnace.url}/api/internal/runs/{before.run_id}/refuse/",
            json={"fields": ["spec"]},
            headers={"Authorization": f"Bearer {before.run_token}"},
        )
        assert answer.json() == {"is_taken": False}
        path.unlink()
    launched.wait_training()
    launched.stop()
    launched.wait_final()


def send_raw(broker: Celery, order: Json, *, times: int) -> None:
    """Send an order that the studio itself could not make, and wait until the worker has it."""
    for _ in range(times):
        broker.send_task(
            START_RUN, args=[json.dumps(order)], queue=queue_name("local"), ignore_result=True
        )
    assert ping_node(broker, node="local", timeout_s=30)
