"""The reporter over real HTTP: all events arrive once and in order, whatever the studio does."""

import asyncio
import contextlib
import errno
import json
import random
import signal
from collections.abc import AsyncIterator, Callable

import pytest

from engine.events import Log, Metric, StatusEvent, encode_log
from engine.status import Reason, Status
from tests.workers.studio_double import StudioDouble, until
from workers import reporter as reporter_module
from workers.config import NodeConfig
from workers.follower import BATCH_EVENTS
from workers.launch import place
from workers.node_dir import NodeDir
from workers.orders import RunOrder
from workers.reporter import Reporter
from workers.run_dir import RunDir
from workers.runtimes.process import ProcessRuntime
from workers.studio_client import StudioClient

MakeOrder = Callable[..., RunOrder]


@pytest.fixture
def make_run(node: NodeDir, config: NodeConfig, make_order: MakeOrder) -> Callable[[], RunDir]:
    """A run that was launched; the test writes its events itself."""

    def make() -> RunDir:
        run = place(node, config, make_order())
        run.mark_launch("process")
        return run

    return make


@contextlib.asynccontextmanager
async def report(node: NodeDir, client: StudioClient) -> AsyncIterator[None]:
    task = asyncio.create_task(Reporter(node, ProcessRuntime(), client).run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def write(run: RunDir, *events: Log | Metric | StatusEvent) -> None:
    with run.events_path.open("a") as file:
        file.writelines(event.model_dump_json(exclude_none=True) + "\n" for event in events)


def make_log(seq: int, piece: bytes = b"line\n") -> Log:
    return Log(seq=seq, time=1.0, **encode_log(piece))


def make_end(seq: int) -> StatusEvent:
    return StatusEvent(seq=seq, time=2.0, status=Status.SUCCEEDED, reason=Reason.COMPLETED)


def read_seqs(studio: StudioDouble, run: RunDir) -> list[int]:
    return [event["seq"] for event in studio.events.get(run.run_id, [])]


def read_stored(studio: StudioDouble, run: RunDir) -> list[str]:
    return [json.dumps(event) for event in studio.events[run.run_id]]


def read_written(run: RunDir) -> list[str]:
    return [json.dumps(json.loads(line)) for line in run.events_path.read_bytes().splitlines()]


async def test_every_event_arrives_and_the_run_is_marked_reported(
    node: NodeDir, client: StudioClient, studio: StudioDouble, make_run: Callable[[], RunDir]
) -> None:
    run = make_run()
    write(run, *(make_log(i) for i in range(1300)), make_end(1300))
    async with report(node, client):
        await until("the mark", run.is_reported)
    assert read_seqs(studio, run) == list(range(1301))
    assert studio.proofs[run.run_id] >= 1300 // BATCH_EVENTS


async def test_odd_bytes_arrive_as_they_were_written(
    node: NodeDir, client: StudioClient, studio: StudioDouble, make_run: Callable[[], RunDir]
) -> None:
    run = make_run()
    pieces = [b"\r 10%\r 20%", b"\xff\xfe\x00", "\u2028 \u4f60".encode(), b"x" * 65_536, b'"\\\n']
    write(run, *(make_log(i, piece) for i, piece in enumerate(pieces)), make_end(len(pieces)))
    async with report(node, client):
        await until("the mark", run.is_reported)
    stored = studio.events[run.run_id][:-1]
    assert [Log.model_validate(event).to_bytes() for event in stored] == pieces


async def test_a_restarted_reporter_goes_on_where_the_studio_is(
    node: NodeDir, client: StudioClient, studio: StudioDouble, make_run: Callable[[], RunDir]
) -> None:
    run = make_run()
    write(run, *(make_log(i) for i in range(20)))
    async with report(node, client):
        await until("the first part", lambda: len(read_seqs(studio, run)) == 20)
    write(run, *(make_log(i) for i in range(20, 40)), make_end(40))
    async with report(node, client):
        await until("the mark", run.is_reported)
    assert read_seqs(studio, run) == list(range(41))


async def test_a_studio_that_was_away_misses_nothing(
    node: NodeDir, client: StudioClient, studio: StudioDouble, make_run: Callable[[], RunDir]
) -> None:
    run = make_run()
    studio.is_away = True
    async with report(node, client):
        write(run, *(make_log(i) for i in range(5)))
        await until("some refusals", lambda: studio.num_turned_away > 3)
        write(run, make_end(5))
        studio.is_away = False
        await until("the mark", run.is_reported)
    assert read_seqs(studio, run) == list(range(6))


@pytest.mark.parametrize("seed", range(5))
async def test_a_studio_that_forgets_and_fails_at_random_ends_with_every_event(
    node: NodeDir,
    client: StudioClient,
    studio: StudioDouble,
    make_run: Callable[[], RunDir],
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    monkeypatch.setattr(reporter_module, "BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr(reporter_module, "BACKOFF_MOST_S", 0.005)
    rng = random.Random(seed)
    run, written = make_run(), 0
    num_losses = 0

    def lose() -> int:
        nonlocal num_losses
        stored = len(studio.events.get(run.run_id, []))
        if num_losses >= 15 or rng.random() < 0.5:
            return 0
        num_losses += 1
        return rng.randint(0, stored)

    studio.forget = lose
    studio.refuse = lambda events: 502 if rng.random() < 0.2 else None
    async with report(node, client):
        while written < 200:
            step = rng.randint(1, 40)
            write(run, *(make_log(i) for i in range(written, written + step)))
            written += step
            await until("some progress", lambda: studio.events.get(run.run_id))
        write(run, make_end(written))
        await until("the mark", run.is_reported)
    assert read_stored(studio, run) == read_written(run)


async def test_a_torn_last_line_is_not_sent(
    node: NodeDir, client: StudioClient, studio: StudioDouble, make_run: Callable[[], RunDir]
) -> None:
    run = make_run()
    write(run, make_log(0))
    whole = make_end(1).model_dump_json(exclude_none=True) + "\n"
    with run.events_path.open("a") as file:
        file.write(whole[:25])
    async with report(node, client):
        await until("proofs of life", lambda: studio.proofs.get(run.run_id, 0) >= 3)
        assert read_seqs(studio, run) == [0]
        with run.events_path.open("a") as file:
            file.write(whole[25:])
        await until("the mark", run.is_reported)
    assert read_seqs(studio, run) == [0, 1]


async def test_a_stop_in_an_answer_reaches_the_run_folder_and_the_first_one_stands(
    node: NodeDir, client: StudioClient, studio: StudioDouble, make_run: Callable[[], RunDir]
) -> None:
    run = make_run()
    studio.stop = {"reason": "points_exhausted", "message": "No points are left."}
    async with report(node, client):
        await until("the wish", run.read_stop)
        studio.stop = {"reason": "stopped_by_owner", "message": "Too late."}
        seen = studio.proofs[run.run_id]
        await until("another answer", lambda: studio.proofs[run.run_id] > seen + 1)
    wish = run.read_stop()
    assert wish is not None
    assert (wish.reason, wish.message) == (Reason.POINTS_EXHAUSTED, "No points are left.")


def fill_disk(monkeypatch: pytest.MonkeyPatch, method: str, full: RunDir) -> list[object]:
    """Let a write into one run's folder fail for as long as the returned list holds anything."""
    real, is_full = getattr(RunDir, method), [True]

    def write_or_fail(run: RunDir, value: object) -> object:
        if is_full and run == full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(run, value)

    monkeypatch.setattr(RunDir, method, write_or_fail)
    return is_full


async def test_a_run_whose_folder_takes_no_file_is_reported_later_and_holds_up_no_other(
    node: NodeDir,
    client: StudioClient,
    studio: StudioDouble,
    make_run: Callable[[], RunDir],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reporter_module, "DISK_AGAIN_S", 0.01)
    full, other = make_run(), make_run()
    is_full = fill_disk(monkeypatch, "mark_reported", full)
    write(full, make_end(0))
    async with report(node, client):
        await until("its events", lambda: studio.is_final(full.run_id))
        write(other, make_end(0))
        await until("the other's mark", other.is_reported)
        is_full.clear()
        await until("the mark", full.is_reported)


async def test_a_stop_that_cannot_be_written_ends_the_run_all_the_same(
    node: NodeDir,
    client: StudioClient,
    studio: StudioDouble,
    make_run: Callable[[], RunDir],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = make_run()
    fill_disk(monkeypatch, "wish_stop", run)
    sent: list[tuple[RunDir, signal.Signals]] = []
    monkeypatch.setattr(ProcessRuntime, "signal", lambda _, run, signum: sent.append((run, signum)))
    studio.stop = {"reason": "stopped_by_owner", "message": ""}
    async with report(node, client):
        await until("two answers", lambda: studio.proofs.get(run.run_id, 0) > 2)
    assert sent == [(run, signal.SIGTERM)]


async def test_an_event_the_studio_cannot_read_arrives_as_log_and_the_rest_as_it_is(
    node: NodeDir, client: StudioClient, studio: StudioDouble, make_run: Callable[[], RunDir]
) -> None:
    run = make_run()
    studio.refuse = lambda events: 400 if any(e["type"] == "metric" for e in events) else None
    metric = Metric(seq=2, time=1.0, step=1, values={"loss": 2.0})
    write(run, make_log(0), make_log(1), metric, make_log(3), make_end(4))
    async with report(node, client):
        await until("the mark", run.is_reported)
    stored = studio.events[run.run_id]
    assert [event["seq"] for event in stored] == list(range(5))
    assert json.loads(Log.model_validate(stored[2]).to_bytes()) == json.loads(
        metric.model_dump_json()
    )


async def test_a_run_the_studio_will_not_hear_of_is_stopped_and_then_set_aside(
    node: NodeDir,
    client: StudioClient,
    studio: StudioDouble,
    make_run: Callable[[], RunDir],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reporter_module, "REFUSED_AGAIN_S", 0.01)
    monkeypatch.setattr(reporter_module, "REFUSED_LIMIT_S", 0.05)
    run = make_run()
    studio.refuse = lambda events: 404
    async with report(node, client):
        await until("the wish", run.read_stop)
        assert not run.is_reported()
        write(run, make_end(0))
        (run.path / "recorder.json").write_text('{"pid": 4194304, "start_ticks": 1}')
        await until("the mark", run.is_reported)


async def test_a_refusal_that_passes_stops_nothing(
    node: NodeDir,
    client: StudioClient,
    studio: StudioDouble,
    make_run: Callable[[], RunDir],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reporter_module, "REFUSED_AGAIN_S", 0.01)
    refusals = iter([401, 403, 404])
    studio.refuse = lambda events: next(refusals, None)
    run = make_run()
    write(run, make_log(0), make_end(1))
    async with report(node, client):
        await until("the mark", run.is_reported)
    assert run.read_stop() is None
    assert read_seqs(studio, run) == [0, 1]


async def test_many_runs_are_reported_side_by_side(
    node: NodeDir, client: StudioClient, studio: StudioDouble, make_run: Callable[[], RunDir]
) -> None:
    runs = [make_run() for _ in range(20)]
    for run in runs:
        write(run, *(make_log(i) for i in range(50)), make_end(50))
    async with report(node, client):
        await until("all marks", lambda: all(run.is_reported() for run in runs))
    assert all(read_seqs(studio, run) == list(range(51)) for run in runs)


async def test_a_run_that_says_nothing_still_proves_its_life(
    node: NodeDir, client: StudioClient, studio: StudioDouble, make_run: Callable[[], RunDir]
) -> None:
    run = make_run()
    async with report(node, client):
        await until("proofs of life", lambda: studio.proofs.get(run.run_id, 0) >= 3)
    assert studio.events[run.run_id] == []
