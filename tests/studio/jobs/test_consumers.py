"""The live page: everything after its cursor, in order, whatever becomes of the wakes."""

import asyncio
import threading

import pytest
import structlog
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth.models import AnonymousUser
from uvicorn.protocols.utils import ClientDisconnected

from studio.accounts.models import User
from studio.jobs import consumers
from studio.jobs.models import Run
from studio.jobs.selectors import describe_job
from studio.jobs.services import stop_job
from tests.factories import make_claimed_run, make_job
from tests.studio.jobs.sockets import Socket
from tests.studio.jobs.test_ingest import end, post, say, start

pytestmark = pytest.mark.django_db(transaction=True, serialized_rollback=True)


@pytest.fixture(autouse=True)
def layer(settings):
    """Wakes that stay in this process; real Redis is in the fault tests."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}


@pytest.fixture
def no_poll(monkeypatch):
    """Only a wake makes a page read."""
    monkeypatch.setattr(consumers, "POLL_S", 3600.0)


@pytest.fixture
def no_wakes(settings, monkeypatch):
    """Redis is away: nothing listens at its address."""
    settings.CHANNEL_LAYERS = {
        "default": {
            "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
            "CONFIG": {"hosts": ["redis://127.0.0.1:1/0"]},
        }
    }
    monkeypatch.setattr(consumers, "POLL_S", 0.05)


async def tell(run: Run, *events: dict) -> None:
    await sync_to_async(post)(run, *events)


async def test_a_page_gets_what_was_and_what_comes(alice, no_poll):
    run = await sync_to_async(make_claimed_run)(alice)
    await tell(run, start(), say(1, b"one\n"))
    socket = Socket(alice, f"/ws/runs/{run.pk}/")
    await socket.connect()
    assert (await socket.receive("job"))["job"]["status"] == "running"
    assert [event["seq"] for event in await socket.receive_events(2)] == [0, 1]
    await heard_by(run)
    await tell(run, say(2, b"two\n"))
    assert [event["text"] for event in await socket.receive_events(1)] == ["two\n"]
    await socket.disconnect()


async def heard_by(run: Run) -> None:
    """Wait until a page listens for the run's wakes."""
    async with asyncio.timeout(10):
        while f"run.{run.pk}" not in get_channel_layer().groups:
            await asyncio.sleep(0.01)


async def test_a_page_that_comes_back_reads_on_from_its_cursor(alice):
    run = await sync_to_async(make_claimed_run)(alice)
    await tell(run, start(), say(1, b"one\n"), say(2, b"two\n"))
    socket = Socket(alice, f"/ws/runs/{run.pk}/?after=2")
    await socket.connect()
    message = await socket.receive("events")
    assert [event["seq"] for event in message["events"]] == [2]
    assert message["next_seq"] == 3
    await socket.disconnect()


async def test_a_move_of_the_run_comes_as_its_job(alice, no_poll):
    run = await sync_to_async(make_claimed_run)(alice, status="running")
    socket = Socket(alice, f"/ws/runs/{run.pk}/")
    await socket.connect()
    assert (await socket.receive("job"))["job"]["can_stop"] is True
    await heard_by(run)
    await sync_to_async(stop_job)(by=alice, job=run.job)
    assert (await socket.receive("job"))["job"]["status"] == "stopping"
    await tell(run, end(0, b"", "stopped", reason="stopped_by_owner"))
    assert (await socket.receive("job"))["job"]["status"] == "stopped"
    await socket.disconnect()


async def test_with_redis_away_the_page_opens_and_follows(alice, no_wakes):
    run = await sync_to_async(make_claimed_run)(alice)
    socket = Socket(alice, f"/ws/runs/{run.pk}/")
    await socket.connect()
    await tell(run, start(), say(1, b"one\n"))
    assert [event["seq"] for event in await socket.receive_events(2)] == [0, 1]
    await tell(run, say(2, b"two\n"))
    assert [event["text"] for event in await socket.receive_events(1)] == ["two\n"]
    await socket.disconnect()


async def test_a_long_backlog_comes_in_order_and_in_parts(alice):
    run = await sync_to_async(make_claimed_run)(alice)
    await tell(run, start(), *(say(seq, b"x" * 60_000 + b"\n") for seq in range(1, 60)))
    await tell(run, *(say(seq, b"y\n") for seq in range(60, 700)))
    socket = Socket(alice, f"/ws/runs/{run.pk}/")
    await socket.connect()
    first = (await socket.receive("events"))["events"]
    assert sum(len(event.get("text", "")) for event in first) <= 2**20
    rest = await socket.receive_events(700 - len(first))
    assert [event["seq"] for event in [*first, *rest]] == list(range(700))
    await socket.disconnect()


@pytest.mark.parametrize("after", ["", "x", "-1", "9" * 40])
async def test_a_cursor_that_is_no_number_reads_from_the_start(alice, after):
    run = await sync_to_async(make_claimed_run)(alice)
    await tell(run, start())
    socket = Socket(alice, f"/ws/runs/{run.pk}/?after={after}")
    await socket.connect()
    assert len(await socket.receive_events(1)) == 1
    await socket.disconnect()


async def closed_with(socket: Socket) -> int:
    await socket.connect()
    return await socket.receive_close()


async def test_a_strangers_run_closes_4404_like_one_that_is_not_there(alice, carol):
    run = await sync_to_async(make_claimed_run)(alice)
    assert await closed_with(Socket(carol, f"/ws/runs/{run.pk}/")) == 4404
    nowhere = "00000000-0000-4000-8000-000000000000"
    assert await closed_with(Socket(carol, f"/ws/runs/{nowhere}/")) == 4404


async def test_nobody_is_closed_4401(alice):
    run = await sync_to_async(make_claimed_run)(alice)
    assert await closed_with(Socket(AnonymousUser(), f"/ws/runs/{run.pk}/")) == 4401
    assert await closed_with(Socket(AnonymousUser(), "/ws/me/")) == 4401


@pytest.mark.parametrize("frame", [{"text": "no json"}, {"text": "{}"}, {"bytes": b"\0"}])
async def test_what_a_page_says_is_passed_over(alice, frame):
    run = await sync_to_async(make_claimed_run)(alice)
    socket = Socket(alice, f"/ws/runs/{run.pk}/")
    await socket.connect()
    await socket.send_input({"type": "websocket.receive", **frame})
    await tell(run, start())
    assert len(await socket.receive_events(1)) == 1
    await socket.disconnect()


async def test_a_socket_that_fails_leaves_nothing_running(alice, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("a defect")

    run = await sync_to_async(make_claimed_run)(alice)
    monkeypatch.setattr(consumers, "describe_job", fail)
    before = asyncio.all_tasks()
    socket = Socket(alice, f"/ws/runs/{run.pk}/")
    assert await closed_with(socket) == 1011
    await socket.disconnect()
    assert asyncio.all_tasks() == before


async def test_a_page_that_leaves_while_it_is_told_something_is_no_defect(alice, monkeypatch):
    async def send_to_nobody(*args, **kwargs):
        raise ClientDisconnected

    run = await sync_to_async(make_claimed_run)(alice)
    monkeypatch.setattr(consumers.RunConsumer, "send_json", send_to_nobody)
    socket = Socket(alice, f"/ws/runs/{run.pk}/")
    with structlog.testing.capture_logs() as logged:
        assert await closed_with(socket) == 1011
        await socket.disconnect()
    assert "live.failed" not in {line["event"] for line in logged}


async def test_a_slow_read_holds_up_no_other_page(alice, bob, monkeypatch):
    slow = await sync_to_async(make_claimed_run)(alice)
    quick = (await sync_to_async(make_job)(owner=bob)).current_run
    has_begun, go_on = threading.Event(), threading.Event()

    def describe_slowly(job):
        if job.pk == slow.job_id:
            has_begun.set()
            go_on.wait(60)
        return describe_job(job)

    monkeypatch.setattr(consumers, "describe_job", describe_slowly)
    hers, his = Socket(alice, f"/ws/runs/{slow.pk}/"), Socket(bob, f"/ws/runs/{quick.pk}/")
    try:
        await hers.connect()
        assert await asyncio.to_thread(has_begun.wait, 10)
        await his.connect()
        assert (await his.receive("job"))["job"]["id"] == str(quick.job_id)
    finally:
        go_on.set()
    assert (await hers.receive("job"))["job"]["id"] == str(slow.job_id)
    await hers.disconnect()
    await his.disconnect()


async def test_who_is_disabled_is_shown_out(alice, monkeypatch):
    monkeypatch.setattr(consumers, "RECHECK_S", 0.0)
    run = await sync_to_async(make_claimed_run)(alice)
    socket = Socket(alice, f"/ws/runs/{run.pk}/")
    await socket.connect()
    await sync_to_async(User.objects.filter(pk=alice.pk).update)(is_active=False)
    assert await socket.receive_close() == 4412
    assert await closed_with(Socket(alice, f"/ws/runs/{run.pk}/")) == 4401


async def test_who_no_longer_operates_is_shown_out_of_a_log_that_never_rests(
    alice, olga, no_poll, monkeypatch
):
    monkeypatch.setattr(consumers, "RECHECK_S", 0.0)
    run = await sync_to_async(make_claimed_run)(alice, status="running")
    socket = Socket(olga, f"/ws/runs/{run.pk}/")
    await socket.connect()
    await socket.receive("job")
    await heard_by(run)
    await sync_to_async(User.objects.filter(pk=olga.pk).update)(role="member")
    await tell(run, say(0, b"secret\n"))
    assert await socket.receive_close() == 4404


async def test_my_pages_hear_that_my_jobs_changed(alice, bob, no_poll):
    run = await sync_to_async(make_claimed_run)(alice, status="running")
    mine, his = Socket(alice, "/ws/me/"), Socket(bob, "/ws/me/")
    await mine.connect()
    await his.connect()
    async with asyncio.timeout(10):
        while f"user.{alice.pk}" not in get_channel_layer().groups:
            await asyncio.sleep(0.01)
    await sync_to_async(stop_job)(by=alice, job=run.job)
    assert (await mine.receive("changed"))["what"] == ["jobs", "points"]
    assert await his.receive_nothing(timeout=0.2)
    await mine.disconnect()
    await his.disconnect()
