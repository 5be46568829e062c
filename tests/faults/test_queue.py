"""A node's queue over a real Redis that dies: orders reach the node again without anyone's help."""

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import Celery
from celery.exceptions import TimeoutError as NoAnswer
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from engine.specs import TrainSpec
from tests.faults.parts import Process, make_redis, make_worker
from tests.live import wait_for
from workers.node_dir import NodeDir
from workers.orders import RunOrder, ping_node, send_run_order
from workers.watchdog import EXIT_CODE

pytestmark = pytest.mark.fault

Start = Callable[[Process], Process]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Process] = []

    def begin(process: Process) -> Process:
        started.append(process)
        return process.start()

    yield begin
    for process in reversed(started):
        process.kill()


@pytest.fixture
def studio_app(tmp_path: Path) -> Celery:
    url = f"redis+socket://{tmp_path / 'redis.sock'}"
    app = Celery("studio", broker=url, backend=url)
    app.conf.update(
        broker_transport_options={"socket_timeout": 5, "socket_connect_timeout": 2},
        redis_socket_timeout=5.0,
    )
    return app


def answers(app: Celery) -> bool:
    try:
        return bool(ping_node(app, node="test", timeout_s=2.0)["time"])
    except (NoAnswer, OperationalError, RedisError):
        return False


def make_order() -> RunOrder:
    return RunOrder(
        run_id=str(uuid.uuid4()),
        job_id=str(uuid.uuid4()),
        run_index=1,
        spec=TrainSpec(model="athanor/tiny", dataset="alice/talks"),
        run_token="run_x",
        issued_at=time.time(),
        expires_at=time.time() + 600,
    )


def test_an_order_sent_twice_is_spooled_once(
    tmp_path: Path, start: Start, studio_app: Celery
) -> None:
    start(make_redis(tmp_path))
    start(make_worker(tmp_path))
    wait_for("the worker", lambda: answers(studio_app))
    order = make_order()
    for _ in range(2):
        send_run_order(studio_app, order, node="test")
    wait_for("the order", lambda: NodeDir(tmp_path / "node").list_orders())
    wait_for("the worker again", lambda: answers(studio_app))  # both orders lay before this ping
    assert [path.stem for path in NodeDir(tmp_path / "node").list_orders()] == [order.run_id]


@pytest.mark.parametrize("away_s", [0.0, 20.0])
def test_orders_arrive_again_after_redis_was_killed_and_came_back_empty(
    tmp_path: Path, start: Start, studio_app: Celery, away_s: float
) -> None:
    redis = start(make_redis(tmp_path))
    worker = start(make_worker(tmp_path))
    wait_for("the worker", lambda: answers(studio_app))
    redis.kill()
    time.sleep(away_s)  # the fault itself, not a guess at when something is done
    redis.start()

    def consumes() -> bool:
        worker.revive()
        return answers(studio_app)

    wait_for("the worker to consume again", consumes, timeout_s=60)
    order = make_order()
    send_run_order(studio_app, order, node="test")
    wait_for("the order", lambda: NodeDir(tmp_path / "node").list_orders())


def test_a_worker_started_before_its_redis_waits_for_it(
    tmp_path: Path, start: Start, studio_app: Celery
) -> None:
    worker = start(make_worker(tmp_path))
    wait_for("a first try", lambda: b"rror" in (tmp_path / "worker.log").read_bytes())
    start(make_redis(tmp_path))
    wait_for("the worker", lambda: answers(studio_app), timeout_s=60)
    assert worker.popen is not None
    assert worker.popen.poll() is None


@pytest.mark.slow
def test_a_worker_that_does_not_consume_its_queue_ends_itself(tmp_path: Path, start: Start) -> None:
    start(make_redis(tmp_path))
    deaf = start(make_worker(tmp_path, queue="node.another"))
    assert deaf.popen is not None
    assert deaf.popen.wait(90) == EXIT_CODE
    assert b"consumer_deaf" in (tmp_path / "worker.log").read_bytes()
