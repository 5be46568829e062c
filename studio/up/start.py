"""One start of a studio: in which order things come up, what is said, and how it ends."""

import asyncio
import os
import shutil
import signal
import socket
import sys
import time

import httpx
from django.core.exceptions import ImproperlyConfigured
from rich.console import Console

from studio import env
from studio.up.leftovers import end_old_parts, list_live_runs
from studio.up.parent import Parent, die_with_parent, hold_data_dir
from studio.up.parts import list_parts, redis_part
from studio.up.places import NODE, PYTHON, ROOT, BadSetting, Places, make_places

_REDIS_READY_S = 10.0
_HEALTHY_S = 180.0


def run_up(places: Places, *, verbose: bool) -> int:
    """Run a studio until told to stop and return the exit code."""
    make_places(places)
    with hold_data_dir(places):
        end_old_parts(places)
        _check_ports(places)
        return asyncio.run(_live(places, verbose=verbose))


def _check_ports(places: Places) -> None:
    """Refuse to start where a port is taken, or settings contradict each other."""
    try:
        _, numbers = env.machine_addresses()
    except ImproperlyConfigured as error:
        raise BadSetting(str(error)) from error
    _check_port(places.port, "set ATHANOR_PORT to a free one")
    for number in numbers:
        if number == places.port:
            raise BadSetting(f"STUDIO_MACHINES_PORTS holds the studio's own port {number}.")
        _check_port(number, "give STUDIO_MACHINES_PORTS a range that is free")


def _check_port(number: int, mend: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            raise BadSetting(f"Port {number} is taken ({error.strerror}): {mend}.") from error


async def _live(places: Places, *, verbose: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    parent = Parent(places, verbose=verbose)
    stopped = asyncio.create_task(stop.wait())
    opening = asyncio.create_task(_open(places, parent))
    try:
        await asyncio.wait([stopped, opening], return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            opening.result()
            await stopped
    except StartFailed as error:
        parent.say(str(error))
        return 1
    finally:
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)
        parent.say("stopping")
        await parent.stop(last=["redis"])
        _tell_what_goes_on(places, parent)
    return 0


class StartFailed(RuntimeError):
    """The studio cannot open; the message says why and where to look."""


async def _open(places: Places, parent: Parent) -> None:
    begun = time.monotonic()
    if places.brings_redis:
        parent.start(redis_part(places))
        await _await_redis(places)
    await _prepare(places)
    for part in list_parts(places):
        parent.start(part)
    await _await_healthy(places)
    _greet(places, time.monotonic() - begun)


async def _await_redis(places: Places) -> None:
    deadline = time.monotonic() + _REDIS_READY_S
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_unix_connection(str(places.redis_socket))
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise StartFailed(f"Redis does not start: see {places.log_dir / 'redis.log'}.")


async def _prepare(places: Places) -> None:
    arguments = [
        *("--node", NODE),
        *("--node-token-file", str(places.node_token_file)),
        *("--signin-link-file", str(places.signin_file)),
        *("--done-file", str(places.data_dir / "shipped.json")),
        *("--cache-dir", str(places.cache_dir)),
    ]
    process = await asyncio.create_subprocess_exec(
        *(PYTHON, "-m", "studio.up.prepare", *arguments),
        cwd=ROOT,
        env=places.command_env(),
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        code = await process.wait()
    except asyncio.CancelledError:
        os.killpg(process.pid, signal.SIGTERM)  # and the engine that it may have started
        await process.wait()
        raise
    if code:
        raise StartFailed("The database could not be prepared; the lines above say why.")


async def _await_healthy(places: Places) -> None:
    deadline = time.monotonic() + _HEALTHY_S
    answer = "no answer yet"
    async with httpx.AsyncClient(base_url=places.url, timeout=10) as client:
        while time.monotonic() < deadline:
            try:
                response = await client.get("/healthz")
            except httpx.TransportError as error:
                answer = type(error).__name__
            else:
                answer = response.text
                if response.status_code == 200:
                    return
            await asyncio.sleep(0.5)
    raise StartFailed(
        f"The studio is not healthy after {_HEALTHY_S:.0f} s ({answer}): see {places.log_dir}."
    )


def _greet(places: Places, seconds: float) -> None:
    link = places.signin_file.read_text().strip()
    console = Console(file=sys.stderr, highlight=False, width=shutil.get_terminal_size().columns)
    console.print(f"\n[bold]Athanor is up[/] after {seconds:.0f} s, data in {places.data_dir}\n")
    console.print(f"  address         {places.url}")
    console.print(f"  administrator   {link}", soft_wrap=True)
    console.print("                  (signs in once; another: make link)", style="dim")
    console.print(f"  logs            {places.log_dir}")
    console.print("  stop            Ctrl-C\n")


def _tell_what_goes_on(places: Places, parent: Parent) -> None:
    if number := len(list_live_runs(places)):
        runs = "1 run goes" if number == 1 else f"{number} runs go"
        parent.say(f"stopped; {runs} on and will be taken up by the next `make up`;")
        parent.say("`make down` ends what still runs")
    else:
        parent.say("stopped")
