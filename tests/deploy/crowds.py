"""A studio as in production (PostgreSQL, Redis), many people, and a node that holds them all."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from studio.up.parts import list_parts
from studio.up.places import Places, make_places
from tests.deploy.postgres import PostgresServer, run_postgres
from tests.deploy.simulated_node import IMAGE
from tests.faults.parts import Process, make_redis
from tests.live import ROOT, START_TIMEOUT_S, free_port, wait_for

PROGRAM_AT = "127.0.0.3"
"""Where the program of all machines listens: an address that nothing else of this machine has."""
PORT = 8080
_NODE = "sim"
_PARTS = {"web", "control", "beat"}
_LOOK_S, _LOOK_SELDOM_S = 0.25, 3.0
# One process for all of it: Django takes longer to load than all this takes.
_PREPARE = """
import json
from django.core.management import call_command
call_command("migrate", interactive=False, verbosity=0)
from studio.accounts.models import User
from studio.accounts.services import create_personal_token
from studio.compute.services import make_node_token
from studio.machines.images import register_image
from studio.points.services import grant_points
register_image(by=None, name="base", reference={image!r}, title="", tools={{"vscode": {port}}},
               flavors=[], idle_s=None)
tokens = {{}}
for name in {people!r}:
    user = User.objects.create_user(username=name)
    grant_points(by=None, to=user, mpoints=10**9, note="", key=name)
    told = create_personal_token(user=user, name="t", scopes=["read", "write"],
                                 expires_in_days=None)
    tokens[name] = told[1]
print(json.dumps([make_node_token(name={node!r}), tokens]))
"""


@dataclass
class Crowded:
    """The studio's parts, what they stand on, and its node; each may be ended and started again."""

    folder: Path
    port: int
    postgres: PostgresServer
    redis: Process
    web: Process
    node: Process
    tokens: dict[str, str]

    @property
    def url(self) -> str:
        """Address of the studio."""
        return f"http://127.0.0.1:{self.port}"

    def browser(self, user: str) -> httpx.AsyncClient:
        """Return a client of the API that speaks for a person."""
        headers = {"Authorization": f"Bearer {self.tokens[user]}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=120)

    def list_deeds(self) -> list[str]:
        """Return all that was ever done to containers: `create <machine>-<life>`."""
        deeds = self.folder / "node" / "containers" / "deeds"
        return deeds.read_text().splitlines() if deeds.exists() else []

    def list_containers(self) -> list[Path]:
        """Return what is there of containers."""
        return list((self.folder / "node" / "containers").glob("*.json"))

    def is_able(self) -> bool:
        """Say whether the node is there for new machines."""
        headers = {"Authorization": f"Bearer {next(iter(self.tokens.values()))}"}
        told = httpx.get(f"{self.url}/api/machines/options/", headers=headers, timeout=60)
        return bool(told.json()["engine"]["is_available"])


@contextmanager
def run_crowded(
    folder: Path, people: list[str], *, cores: int, start_s: float = 0.0
) -> Iterator[Crowded]:
    """Run all of it until the block ends; `cores` is how many machines of one core its node holds.

    `start_s` is what the start of a container takes there. Of the studio run only the parts that
    have to do with machines.
    """
    with ExitStack() as stack:
        postgres = stack.enter_context(run_postgres())
        redis = stack.enter_context(_run(make_redis(folder)))
        places = Places(folder / "studio", free_port())
        make_places(places)
        redis_url = f"unix://{redis.log.with_name('redis.sock')}"
        own = {"STUDIO_DATABASE_URL": postgres.url, "STUDIO_REDIS_URL": redis_url}
        env = places.studio_env() | own
        node_token, tokens = _prepare(env, people)
        parts = {
            part.name: stack.enter_context(
                _run(Process(part.argv, folder / f"{part.name}.log", part.env | own))
            )
            for part in list_parts(places)
            if part.name in _PARTS
        }
        program = (sys.executable, "-m", "tests.deploy.ide_program", PROGRAM_AT, str(PORT))
        stack.enter_context(_run(Process(program, folder / "program.log")))
        (folder / "node").mkdir()
        node_env = {
            "ATHANOR_STUDIO_URL": places.url,
            "ATHANOR_NODE_TOKEN": node_token,
            "ATHANOR_BROKER_URL": redis_url,
            "ATHANOR_NODE_NAME": _NODE,
            "ATHANOR_NODE_DIR": str(folder / "node"),
        }
        command = (sys.executable, "-m", "tests.deploy.simulated_node", str(cores), PROGRAM_AT)
        command += ("--start-s", str(start_s))
        node = stack.enter_context(_run(Process(command, folder / "node.log", node_env)))
        made = Crowded(folder, places.port, postgres, redis, parts["web"], node, tokens)
        wait_for("the node to be told", made.is_able, timeout_s=START_TIMEOUT_S)
        yield made


@contextmanager
def _run(process: Process) -> Iterator[Process]:
    process.start()
    try:
        yield process
    finally:
        process.kill()


def _prepare(env: dict[str, str], people: list[str]) -> tuple[str, dict[str, str]]:
    """Make the tables, an image and people with points; return the node's token and theirs."""
    script = _PREPARE.format(image=IMAGE, port=PORT, people=people, node=_NODE)
    command = [sys.executable, "-m", "django", "shell", "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    node_token, tokens = json.loads(done.stdout.splitlines()[-1])
    return node_token, tokens


async def until(what: str, look: Any, *, patience_s: float = 120.0) -> Any:
    """Look until there is something and return it; fail with `what` when time is up."""
    try:
        async with asyncio.timeout(patience_s):
            while not (found := await look()):
                await asyncio.sleep(0.5)
            return found
    except TimeoutError:
        raise AssertionError(f"waited {patience_s:.0f} s in vain for {what}") from None


async def create(browser: httpx.AsyncClient, name: str) -> httpx.Response:
    """Ask for a machine of one core."""
    wish = {"name": name, "image": "base", "flavor": "cpu-1", "duration_s": 1800}
    return await browser.post("/api/machines/", json=wish)


async def await_running(browser: httpx.AsyncClient, key: str) -> dict[str, Any]:
    """Return a machine once it runs, looked at more seldom the longer it waits."""
    pause_s = _LOOK_S
    while True:
        found = dict((await browser.get(f"/api/machines/{key}/")).json())
        if found["status"] == "running":
            return found
        assert found["status"] in {"queued", "starting"}, found
        await asyncio.sleep(pause_s)
        pause_s = min(1.3 * pause_s, _LOOK_SELDOM_S)


async def enter(browser: httpx.AsyncClient, key: str) -> tuple[str, str]:
    """Sign in at a machine's port as a browser does; return its host there and its cookie."""
    told = await browser.post(f"/api/machines/{key}/enter/", json={"port": PORT})
    door = httpx.URL(told.json()["url"])
    host = door.netloc.decode()
    async with httpx.AsyncClient(base_url=str(browser.base_url), timeout=120) as fresh:
        entered = await fresh.get(door.raw_path.decode(), headers={"Host": host})
    assert entered.status_code == 303, entered.text
    return host, entered.headers["set-cookie"].partition(";")[0]


async def gather(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    """Return what all of them return; the first that fails ends the others."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
    return [task.result() for task in tasks]


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` (0..1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def read_number(name: str, default: int) -> int:
    """Return how large a test shall be: `make bench-machines` says more than CI bears."""
    return int(os.environ.get(name, default))
