"""Parts of the studio and the node die in mid-run: the engine goes on and nothing is lost."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.faults.owner import (
    FINAL,
    Launched,
    Owner,
    check_charge,
    check_log,
    check_statement,
)
from tests.faults.parts import Process
from tests.faults.watcher import Watcher
from tests.live import LiveStudio, wait_for

pytestmark = [pytest.mark.fault, pytest.mark.slow]

ADOPTED_WITHIN_S = 15.0
LONG_ENOUGH_STEPS = 400


def finish(launched: Launched) -> None:
    """Stop a run and compare log and charge."""
    launched.stop()
    job = launched.wait_final()
    assert (job["status"], job["reason"]) == ("stopped", "stopped_by_owner")
    check_log(launched)
    check_charge(launched)


def check_page(page: Watcher, launched: Launched) -> None:
    """What the page got, cuts and all, is every event once and in order."""
    written = launched.read_events()
    assert [event["seq"] for event in page.events] == [event.seq for event in written]
    assert page.statuses[-1] in FINAL


@contextmanager
def parent_asleep(studio: LiveStudio) -> Iterator[None]:
    """Keep the parent from starting again what is killed. Shortly: it also reads their logs."""
    studio.parent.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        studio.parent.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("name", ["worker", "reporter", "supervisor"])
def test_a_node_process_killed_in_mid_run_changes_nothing(
    furnace: LiveStudio, alice: Owner, name: str
) -> None:
    launched = alice.launch()
    launched.wait_training()
    engine = launched.engine()
    furnace.wait_restarted(name, furnace.kill(name))
    launched.wait_fresh_events(timeout_s=ADOPTED_WITHIN_S)
    assert launched.engine() == engine
    assert engine.is_alive()
    finish(launched)


def test_a_killed_supervisor_adopts_the_run_it_finds(furnace: LiveStudio, alice: Owner) -> None:
    launched = alice.launch()
    launched.wait_training()
    with parent_asleep(furnace):
        old = furnace.kill("supervisor")
        launched.stop()  # a wish that only the next supervisor can pass on
        wait_for("the wish on disk", launched.run_dir().read_stop)
        assert launched.engine().is_alive()
    furnace.wait_restarted("supervisor", old)
    wait_for("the adoption", lambda: not launched.engine().is_alive(), timeout_s=ADOPTED_WITHIN_S)
    launched.wait_final()
    check_log(launched)


def test_an_order_sent_while_the_worker_is_dead_is_started_once_it_is_back(
    furnace: LiveStudio, alice: Owner
) -> None:
    with parent_asleep(furnace):
        old = furnace.kill("worker")
        launched = alice.launch()
    furnace.wait_restarted("worker", old)
    launched.wait_training()
    finish(launched)


def test_redis_away_for_twenty_seconds_and_back_empty_loses_nothing(
    furnace: LiveStudio, alice: Owner, redis: Process
) -> None:
    launched = alice.launch()
    launched.wait_training()
    engine = launched.engine()
    with Watcher(launched) as page:
        redis.kill()
        second = alice.launch(max_steps=20, output="second")  # launching needs no Redis
        time.sleep(20)  # the fault itself
        launched.wait_fresh_events(timeout_s=15)
        redis.start()
        job = second.wait_final()
        assert (job["status"], job["reason"]) == ("succeeded", "completed")
        assert launched.engine() == engine
        finish(launched)
        wait_for("the page to catch up", page.has_seen_end)
    check_log(second)
    check_page(page, launched)
    assert page.num_cuts == 0
    wait_for("everything to be well again", furnace.is_healthy, timeout_s=90)


def kill_web(studio: LiveStudio) -> dict[str, int]:
    return {"web": studio.kill("web")}


def kill_all_of_the_studio(studio: LiveStudio) -> dict[str, int]:
    return {name: studio.kill(name) for name in ("web", "control", "beat")}


@pytest.mark.parametrize("kill", [kill_web, kill_all_of_the_studio])
def test_studio_processes_killed_and_started_again_lose_nothing(
    furnace: LiveStudio, alice: Owner, kill: Callable[[LiveStudio], dict[str, int]]
) -> None:
    launched = alice.launch(max_steps=LONG_ENOUGH_STEPS)
    launched.wait_training()
    with Watcher(launched) as page:
        for name, old in kill(furnace).items():
            furnace.wait_restarted(name, old)
        wait_for("the studio to answer", furnace.is_healthy, timeout_s=90)
        job = launched.wait_final()
        wait_for("the page to catch up", page.has_seen_end)
    check_page(page, launched)
    assert (job["status"], job["reason"]) == ("succeeded", "completed")
    check_log(launched)
    check_charge(launched)
    check_statement(alice)


def test_a_recorder_killed_in_mid_run_is_a_platform_fault_and_costs_nothing(
    furnace: LiveStudio, alice: Owner
) -> None:
    launched = alice.launch()
    launched.wait_training()
    engine = launched.engine()
    os.kill(launched.processes().recorder.pid, signal.SIGKILL)
    job = launched.wait_final()
    assert (job["status"], job["reason"]) == ("failed", "node_lost")
    assert not engine.is_alive()
    check_log(launched)
    refunded = launched.wait("the refund", lambda job: job["held_mpoints"] == 0)
    assert refunded["cost_mpoints"] == 0
    check_statement(alice)


def test_a_stop_is_final_within_five_seconds(furnace: LiveStudio, alice: Owner) -> None:
    launched = alice.launch()
    launched.wait_training()
    wished = time.time()
    finish(launched)
    assert launched.read_events()[-1].time - wished < 5.0  # a promise of the product, not a speed
    checkpoints = launched.run_dir().find_last_checkpoint()
    assert checkpoints is not None
