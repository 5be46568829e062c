"""The supervisor with real processes: an order starts at most once, and nothing is forgotten."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from engine.specs import Placement
from tests.workers.studio_double import StudioDouble, until
from workers.care import LAUNCH_TIMEOUT_S
from workers.config import NodeConfig
from workers.files import write_whole
from workers.launch import place, start
from workers.node_dir import NodeDir
from workers.orders import RunOrder
from workers.process_identity import ProcessIdentity
from workers.run_dir import RunDir, StopWish
from workers.runtimes.base import Life
from workers.runtimes.process import ProcessRuntime
from workers.studio_client import StudioClient
from workers.supervisor import Supervisor

MakeOrder = Callable[..., RunOrder]

WORK = """
import time
open("starts", "a").write("x")
print("at work", flush=True)
time.sleep(600)
"""
QUICK = "open('starts', 'a').write('x'); print('done')"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WORK


class Node:
    """A node whose supervisor a test can end and start anew; each knows nothing of the last."""

    def __init__(self, config: NodeConfig, client: StudioClient, dir_: NodeDir) -> None:
        self.config, self.client, self.dir = config, client, dir_

    @contextlib.asynccontextmanager
    async def supervise(self, code: str = QUICK) -> AsyncIterator[Supervisor]:
        supervisor = Supervisor(self.config, self.runtime(code), self.client)
        task = asyncio.create_task(supervisor.run())
        try:
            yield supervisor
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def runtime(self, code: str = QUICK) -> ProcessRuntime:
        return ProcessRuntime(child=(sys.executable, "-c", code))

    def run(self, order: RunOrder) -> RunDir:
        return RunDir(self.dir.runs / order.run_id)

    def count_starts(self, order: RunOrder) -> int:
        with contextlib.suppress(FileNotFoundError):
            return len((self.dir.runs / order.run_id / "starts").read_text())
        return 0

    def is_at_work(self, order: RunOrder) -> bool:
        return self.count_starts(order) > 0 and self.run(order).read_processes() is not None

    def last_event(self, order: RunOrder) -> dict[str, str]:
        return json.loads(self.run(order).events_path.read_text().splitlines()[-1])


@pytest.fixture
def place_node(config: NodeConfig, client: StudioClient, node: NodeDir) -> Node:
    return Node(config, client, node)


async def test_an_order_becomes_a_run_that_ends(place_node: Node, make_order: MakeOrder) -> None:
    order = make_order(num_threads=2)
    place_node.dir.spool_order(order)
    async with place_node.supervise():
        await until("the end", place_node.run(order).is_final)
    assert place_node.count_starts(order) == 1
    assert place_node.last_event(order)["status"] == "succeeded"
    assert place_node.dir.list_orders() == []


async def test_the_engine_gets_spec_and_placement_and_only_its_owner_reads_them(
    place_node: Node, make_order: MakeOrder
) -> None:
    order = make_order(num_threads=2, devices=(3, 5), push_to="alice/out")
    place_node.dir.spool_order(order)
    async with place_node.supervise():
        await until("the end", place_node.run(order).is_final)
    placement = json.loads((place_node.run(order).path / "placement.json").read_text())
    assert placement["devices"] == [0, 1]
    assert placement["hub_token"] == order.run_token
    assert placement["provenance"]["node"] == "test"
    for name in ("placement.json", "order.json", "spec.json"):
        assert (place_node.run(order).path / name).stat().st_mode & 0o077 == 0


async def test_the_engine_sees_its_devices_and_no_secret_of_the_node(
    place_node: Node, make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATHANOR_NODE_TOKEN", "node_secret")
    monkeypatch.setenv("ATHANOR_BROKER_URL", "redis://:secret@broker/0")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    order = make_order(num_threads=2, devices=(3, 5))
    place_node.dir.spool_order(order)
    code = "import json, os; json.dump(dict(os.environ), open('env', 'w'))"
    async with place_node.supervise(code):
        await until("the end", place_node.run(order).is_final)
    env = json.loads((place_node.run(order).path / "env").read_text())
    assert "secret" not in json.dumps(env)
    assert env["CUDA_VISIBLE_DEVICES"] == "3,5"
    assert env["OMP_NUM_THREADS"] == "2"
    assert env["HF_HUB_DISABLE_TELEMETRY"] == "1"


async def test_an_order_delivered_again_at_any_time_starts_nothing(
    place_node: Node, make_order: MakeOrder
) -> None:
    order = make_order()
    assert place_node.dir.spool_order(order)
    assert not place_node.dir.spool_order(order)
    async with place_node.supervise():
        await until("the end", place_node.run(order).is_final)
        assert not place_node.dir.spool_order(order)
        late = place_node.dir.orders / f"{order.run_id}.json"
        write_whole(late, order.model_dump_json().encode())  # as if spooled in the same instant
        await until("the order to be dropped", lambda: not late.exists())
    assert place_node.count_starts(order) == 1


async def test_a_cancelled_order_starts_nothing(
    place_node: Node, studio: StudioDouble, make_order: MakeOrder
) -> None:
    studio.may_start = False
    order = make_order()
    place_node.dir.spool_order(order)
    async with place_node.supervise():
        await until("the claim", lambda: studio.claims)
        await until("the order to be dropped", lambda: not place_node.dir.list_orders())
    assert not place_node.run(order).path.exists()


async def test_an_expired_order_is_dropped_unasked(
    place_node: Node, studio: StudioDouble, make_order: MakeOrder
) -> None:
    place_node.dir.spool_order(make_order(expires_at=time.time() - 1))
    async with place_node.supervise():
        await until("the order to be dropped", lambda: not place_node.dir.list_orders())
    assert studio.claims == []


async def test_an_order_waits_for_a_studio_that_is_away(
    place_node: Node, studio: StudioDouble, make_order: MakeOrder
) -> None:
    studio.is_away = True
    order = make_order()
    place_node.dir.spool_order(order)
    async with place_node.supervise():
        await until("some refusals", lambda: studio.num_turned_away > 2)
        assert not place_node.run(order).path.exists()
        studio.is_away = False
        await until("the end", place_node.run(order).is_final)


def spool_unreadable(node: Node, order: RunOrder, **fields: object) -> None:
    """Keep an order whose spec only a newer node could read."""
    spec = {**order.spec.model_dump(mode="json"), "not_known_here": 1}
    node.dir.spool(order.run_id, {**order.model_dump(mode="json"), "spec": spec, **fields})


async def test_an_order_that_cannot_be_read_is_refused_once_the_studio_can_be_told(
    place_node: Node, make_order: MakeOrder, studio: StudioDouble
) -> None:
    studio.is_away = True
    order = make_order()
    spool_unreadable(place_node, order)
    async with place_node.supervise():
        await until("some refusals unheard", lambda: studio.num_turned_away > 2)
        assert place_node.dir.list_orders()
        studio.is_away = False
        await until("the order to be dropped", lambda: not place_node.dir.list_orders())
    assert studio.refusals == [(order.run_id, ["spec.not_known_here"])]
    assert studio.claims == [] and not place_node.run(order).path.exists()


async def test_an_unreadable_order_of_nobody_of_a_run_that_is_here_or_of_before_refuses_nothing(
    place_node: Node, make_order: MakeOrder, studio: StudioDouble
) -> None:
    order, late = make_order(), make_order()
    spool_unreadable(place_node, order)
    spool_unreadable(place_node, late, expires_at=time.time() - 1)
    write_whole(place_node.dir.orders / "broken.json", b'{"run_id": "broken"')
    place(place_node.dir, place_node.config, order)
    async with place_node.supervise():
        await until("the orders to be dropped", lambda: not place_node.dir.list_orders())
    assert studio.refusals == []


# The launch matrix: the supervisor dies after each step of workers/launch.py.


def die_before_claim(node: Node, order: RunOrder) -> None:
    node.dir.spool_order(order)


def die_in_making_the_folder(node: Node, order: RunOrder) -> None:
    node.dir.spool_order(order)
    (node.dir.runs / f".new-{order.run_id}").mkdir()
    (node.dir.runs / f".new-{order.run_id}" / "spec.json").write_text("{")
    (node.dir.active / order.run_id).touch()


def die_before_dropping_the_order(node: Node, order: RunOrder) -> None:
    node.dir.spool_order(order)
    place(node.dir, node.config, order)


def die_before_the_launch_mark(node: Node, order: RunOrder) -> None:
    place(node.dir, node.config, order)


def die_after_the_start(node: Node, order: RunOrder) -> None:
    node.dir.spool_order(order)
    start(place(node.dir, node.config, order), node.runtime())


@pytest.mark.parametrize(
    "die",
    [
        die_before_claim,
        die_in_making_the_folder,
        die_before_dropping_the_order,
        die_before_the_launch_mark,
        die_after_the_start,
    ],
)
async def test_wherever_the_supervisor_died_the_next_one_starts_the_run_exactly_once(
    place_node: Node, make_order: MakeOrder, die: Callable[[Node, RunOrder], None]
) -> None:
    order = make_order()
    die(place_node, order)
    async with place_node.supervise():
        await until("the end", place_node.run(order).is_final)
        await until("the order to be dropped", lambda: not place_node.dir.list_orders())
    assert place_node.count_starts(order) == 1
    assert place_node.last_event(order)["status"] == "succeeded"


async def test_a_launch_that_never_came_up_ends_as_launch_failed_and_starts_nothing_later(
    place_node: Node, make_order: MakeOrder
) -> None:
    order = make_order()
    run = place(place_node.dir, place_node.config, order)
    run.mark_launch("process")  # and there the node lost power
    past = time.time() - LAUNCH_TIMEOUT_S - 1
    os.utime(run.path / "launch.json", (past, past))
    async with place_node.supervise():
        await until("the end", run.is_final)
    assert place_node.last_event(order)["reason"] == "launch_failed"
    runtime = place_node.runtime()
    placement = Placement.model_validate_json((run.path / "placement.json").read_bytes())
    runtime.start(run, placement, devices=())  # a recorder that was only slow
    await until("the late recorder to refuse", lambda: runtime.look(run) is Life.GONE)
    assert place_node.count_starts(order) == 0


async def test_a_run_not_wanted_any_more_is_not_launched_after_a_crash(
    place_node: Node, studio: StudioDouble, make_order: MakeOrder
) -> None:
    order = make_order()
    run = place(place_node.dir, place_node.config, order)
    studio.may_start = False
    async with place_node.supervise():
        await until("the folder to go", lambda: not run.path.exists())
    assert place_node.dir.list_active() == []


async def test_a_run_outlives_its_supervisor_and_the_next_one_adopts_it(
    place_node: Node, studio: StudioDouble, make_order: MakeOrder
) -> None:
    order = make_order()
    place_node.dir.spool_order(order)
    async with place_node.supervise(WORK):
        await until("the engine to work", lambda: place_node.is_at_work(order))
    processes = place_node.run(order).read_processes()
    assert processes is not None and processes.recorder.is_alive()
    studio.heartbeats.clear()
    async with place_node.supervise(WORK):
        await until("the adoption", lambda: studio.heartbeats)
        assert studio.heartbeats[0]["runs"] == [order.run_id]
        assert processes.engine is not None and processes.engine.is_alive()
    assert place_node.count_starts(order) == 1


async def test_a_recorder_that_was_killed_ends_its_run_as_node_lost_with_all_of_its_processes(
    place_node: Node, make_order: MakeOrder
) -> None:
    order = make_order()
    place_node.dir.spool_order(order)
    async with place_node.supervise(WORK):
        await until("the engine to work", lambda: place_node.is_at_work(order))
        processes = place_node.run(order).read_processes()
        assert processes is not None and processes.engine is not None
        os.kill(processes.recorder.pid, signal.SIGKILL)
        await until("the end", place_node.run(order).is_final)
        await until("the engine to end", lambda: not processes.engine.is_alive())
    assert place_node.last_event(order)["reason"] == "node_lost"


async def test_after_a_reboot_a_run_is_lost_and_no_stranger_with_its_pid_is_touched(
    place_node: Node, make_order: MakeOrder
) -> None:
    order = make_order()
    run = place(place_node.dir, place_node.config, order)
    run.mark_launch("process")
    launch = run.path / "launch.json"
    launch.write_text(json.dumps({"boot_id": "an earlier one", "runtime": "process"}))
    me = psutil.Process()
    (run.path / "recorder.json").write_text(json.dumps({"pid": me.pid, "start_ticks": 1}))
    async with place_node.supervise():
        await until("the end", run.is_final)
    assert place_node.last_event(order)["reason"] == "node_lost"


async def test_a_stop_wish_stops_the_engine_for_its_reason(
    place_node: Node, make_order: MakeOrder
) -> None:
    order = make_order()
    place_node.dir.spool_order(order)
    async with place_node.supervise(WORK):
        await until("the engine to work", lambda: place_node.is_at_work(order))
        place_node.run(order).wish_stop(StopWish(reason="points_exhausted"))
        await until("the end", place_node.run(order).is_final)
    last = place_node.last_event(order)
    assert (last["status"], last["reason"]) == ("stopped", "points_exhausted")


async def test_an_engine_deaf_to_the_stop_is_killed_in_time(
    place_node: Node, make_order: MakeOrder
) -> None:
    order = make_order()
    place_node.dir.spool_order(order)
    async with place_node.supervise(DEAF):
        await until("the engine to work", lambda: place_node.is_at_work(order))
        place_node.run(order).wish_stop(StopWish(message="-- enough, said the owner"))
        await until("the end", place_node.run(order).is_final)
    last = place_node.last_event(order)
    assert (last["reason"], last["message"]) == ("stopped_by_owner", "-- enough, said the owner")


async def test_a_recorder_deaf_to_the_stop_is_killed_with_its_engine(
    place_node: Node, make_order: MakeOrder
) -> None:
    order = make_order()
    place_node.dir.spool_order(order)
    async with place_node.supervise(DEAF):
        await until("the engine to work", lambda: place_node.is_at_work(order))
        processes = place_node.run(order).read_processes()
        assert processes is not None and processes.engine is not None
        os.kill(processes.recorder.pid, signal.SIGSTOP)
        place_node.run(order).wish_stop(StopWish(message="-- enough, said the owner"))
        await until("the end", place_node.run(order).is_final)
        assert not processes.engine.is_alive()
    last = place_node.last_event(order)
    assert (last["reason"], last["message"]) == ("stopped_by_owner", "-- enough, said the owner")


async def test_a_reported_run_is_shelved_and_keeps_its_folder(
    place_node: Node, make_order: MakeOrder
) -> None:
    order = make_order()
    place_node.dir.spool_order(order)
    async with place_node.supervise():
        await until("the end", place_node.run(order).is_final)
        assert place_node.dir.list_active() == [place_node.run(order)]
        place_node.run(order).mark_reported(3)
        await until("the shelf", lambda: not place_node.dir.list_active())
    assert place_node.run(order).is_final()


async def test_a_run_with_an_odd_file_holds_up_no_other(
    place_node: Node, make_order: MakeOrder
) -> None:
    odd, other = make_order(), make_order()
    run = place(place_node.dir, place_node.config, odd)
    run.mark_launch("process")
    (run.path / "stop.json").write_text('{"reason": "a whim"}')
    place_node.dir.spool_order(other)
    async with place_node.supervise():
        await until("the end", place_node.run(other).is_final)


async def test_what_cannot_be_swept_keeps_nothing_else(
    place_node: Node, make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [place(place_node.dir, place_node.config, make_order()) for _ in range(3)]
    stuck, real = runs[1], shutil.rmtree
    for run in runs:
        place_node.dir.shelve_run(run)
        os.utime(run.path, (1.0, 1.0))

    def remove(path: Path) -> None:
        if path == stuck.path:
            raise PermissionError(path)
        real(path)

    supervisor = Supervisor(place_node.config, place_node.runtime(), place_node.client)
    monkeypatch.setattr(shutil, "rmtree", remove)
    supervisor.sweep()
    assert [run.path.exists() for run in runs] == [False, True, False]


async def test_only_what_was_reported_long_ago_is_swept(
    place_node: Node, make_order: MakeOrder
) -> None:
    old, unreported, young = (make_order() for _ in range(3))
    runs = [place(place_node.dir, place_node.config, order) for order in (old, unreported, young)]
    for run in (runs[0], runs[2]):
        place_node.dir.shelve_run(run)
    for run in runs[:2]:
        os.utime(run.path, (1.0, 1.0))
    async with place_node.supervise() as supervisor:
        supervisor.sweep()
    assert [run.path.exists() for run in runs] == [False, True, True]


async def test_a_resumed_run_gets_the_newest_checkpoint_of_the_earlier_one(
    place_node: Node, make_order: MakeOrder
) -> None:
    earlier = place(place_node.dir, place_node.config, make_order())
    for step in (5, 40, 30):
        (earlier.path / "checkpoints" / f"step-{step}").mkdir(parents=True)
    (earlier.path / "checkpoints" / ".step-50.part").mkdir()
    later = place(place_node.dir, place_node.config, make_order(resume_run_id=earlier.run_id))
    placement = json.loads((later.path / "placement.json").read_text())
    assert Path(placement["resume_from"]) == earlier.path / "checkpoints" / "step-40"


async def test_a_run_resumed_where_no_checkpoint_is_kept_does_not_start_from_nothing(
    place_node: Node, make_order: MakeOrder
) -> None:
    later = place(place_node.dir, place_node.config, make_order(resume_run_id="swept"))
    placement = json.loads((later.path / "placement.json").read_text())
    assert placement["resume_from"] is not None
    assert not Path(placement["resume_from"]).exists()


async def test_a_heartbeat_says_what_the_node_has(place_node: Node, studio: StudioDouble) -> None:
    async with place_node.supervise():
        await until("a heartbeat", lambda: studio.heartbeats)
    beat = studio.heartbeats[0]
    assert beat["cores"] >= 1
    assert beat["memory_bytes"] > 1 << 28
    assert beat["disk_free_bytes"] > 0
    assert beat["runs"] == []


async def test_a_node_that_cannot_run_engines_says_so_in_a_sentence(
    place_node: Node, studio: StudioDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    place_node.config = replace(place_node.config, engine_image="engine")
    async with place_node.supervise():
        await until("a heartbeat", lambda: studio.heartbeats)
    beat = studio.heartbeats[0]
    assert beat["runtime"] == "docker"
    wanted = "No Docker engine answers" if os.geteuid() == 0 else "a node that runs as root"
    assert wanted in beat["runtime_problem"]


async def test_a_run_is_looked_after_as_it_was_placed_whatever_the_node_is_told_since(
    place_node: Node, make_order: MakeOrder
) -> None:
    config = replace(place_node.config, engine_image="engine")
    apart = place(place_node.dir, config, make_order())
    plain = place(place_node.dir, place_node.config, make_order())
    supervisor = Supervisor(place_node.config, place_node.runtime(), place_node.client)
    assert supervisor._runtime_at(apart).name == "docker"
    assert supervisor._runtime_at(plain).name == "process"


def test_a_pid_that_was_given_to_another_process_is_not_alive() -> None:
    assert not ProcessIdentity(os.getpid(), start_ticks=1).is_alive()
    assert not ProcessIdentity(2**22 + 1, start_ticks=1).is_alive()
