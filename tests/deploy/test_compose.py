"""The several-machine shape on a real Docker engine: built here, used as by a stranger."""

import asyncio
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import websockets

from tests.deploy.build import BASE, build_images
from tests.deploy.engine import DockerEngine, find_compose, run_engine, why_not
from tests.deploy.supplies import ROOT, make_context
from tests.live import free_port, wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(2400)]


@dataclass(frozen=True)
class Deployment:
    """A studio made of containers."""

    engine: DockerEngine
    context: Path
    port: int
    ssh_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def compose(self, *arguments: str, check: bool = True) -> str:
        env = {
            "ATHANOR_PORT": str(self.port),
            "STUDIO_PUBLIC_URL": self.url,
            "STUDIO_SSH_PORT": str(self.ssh_port),
            "ATHANOR_POSTGRES_IMAGE": "athanor-test-postgres",
            "ATHANOR_REDIS_IMAGE": BASE,
            "ATHANOR_NGINX_IMAGE": "athanor-test-nginx",
            "COMPOSE_PROJECT_NAME": "athanor",
        }
        command = [*find_compose(), "-f", str(self.context / "compose.yaml"), *arguments]
        if check:
            return self.engine.run(*command, env=env, cwd=self.context).stdout
        done = subprocess.run(
            command,
            env={**self.engine.env, **env},
            cwd=self.context,
            capture_output=True,
            text=True,
        )
        return done.stdout + done.stderr

    def make_token(self, *arguments: str) -> str:
        command = ("exec", "-T", "web", "python", "-m", "django", "token", *arguments)
        return self.compose(*command).strip().splitlines()[-1].strip()


@pytest.fixture(scope="module")
def deployment(tmp_path_factory) -> Iterator[Deployment]:
    if reason := why_not():
        pytest.fail(reason)
    context = make_context(tmp_path_factory.mktemp("context"))
    with run_engine() as engine:
        build_images(engine, context)
        shutil.rmtree(context / "deploy" / "wheels")
        subprocess.run([str(context / "deploy" / "make_secrets.sh")], check=True)
        ports = {"port": free_port(), "ssh_port": free_port()}
        studio = Deployment(engine=engine, context=context, **ports)
        try:
            said = studio.compose("up", "--detach", "--no-build", check=False)
            await_healthy(studio, said)
            yield studio
        finally:
            studio.compose("down", "--volumes", "--timeout", "10", check=False)


def await_healthy(studio: Deployment, said: str) -> None:
    deadline = time.monotonic() + 240
    answer = "nothing"
    while time.monotonic() < deadline:
        try:
            response = httpx.get(f"{studio.url}/healthz", timeout=10)
            answer = response.text
            if response.status_code == 200:
                return
        except httpx.TransportError as error:
            answer = repr(error)
        time.sleep(0.5)
    state = studio.compose("ps", check=False) + studio.compose("logs", "--tail", "60", check=False)
    raise AssertionError(f"not healthy: {answer}\n{said[-2000:]}\n{state[-12000:]}")


def test_the_demo_client_walks_the_journey_in_containers(deployment):
    env = {
        **os.environ,
        "ATHANOR_TOKEN": deployment.make_token("demo"),
        "ATHANOR_ADMIN_TOKEN": deployment.make_token("admin", "--role", "administrator", "--admin"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "clients.demo", "--url", deployment.url],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    logs = deployment.compose("logs", "--tail", "40", check=False) if done.returncode else ""
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}\n{logs[-8000:]}"
    assert "All of it worked" in done.stdout


def test_a_live_socket_passes_the_proxy(deployment):
    async def knock() -> int:
        address = f"ws://127.0.0.1:{deployment.port}/ws/me/"
        async with websockets.connect(address, origin=deployment.url) as socket:
            await socket.wait_closed()
            return socket.close_code

    assert asyncio.run(knock()) == 4401  # the studio's own word for "sign in first"


def test_a_machines_name_is_asked_of_the_studio(deployment):
    asked = httpx.get(deployment.url, headers={"Host": "8080-nosuchmachine.localhost"})
    assert (asked.status_code, asked.json()["code"]) == (401, "sign_in")


def test_the_ssh_gateway_shows_the_key_that_pages_tell(deployment):
    headers = {"Authorization": f"Bearer {deployment.make_token('demo')}"}
    told = httpx.get(f"{deployment.url}/api/machines/options/", headers=headers).json()["ssh"]
    scan = ["ssh-keyscan", "-t", "ed25519", "-p", str(told["port"]), "127.0.0.1"]

    def find_key() -> str:
        return subprocess.run(scan, capture_output=True, text=True, check=False).stdout

    shown = wait_for("the gateway", find_key)
    assert shown.split()[1:3] == told["host_key"].split()[1:3]


def test_a_node_cannot_reach_the_database(deployment):
    code = (
        "import socket\n"
        "try:\n    socket.create_connection(('postgres', 5432), 3)\n    print('reached')\n"
        "except OSError as error:\n    print('away', type(error).__name__)\n"
    )
    said = deployment.compose("exec", "-T", "node", "python", "-c", code)
    assert "away" in said
    assert "reached" not in said


def test_images_run_as_nobody_special(deployment):
    for service in ("web", "control", "node"):
        assert deployment.compose("exec", "-T", service, "id", "-u").strip() == "10001"


def test_the_studio_image_holds_no_model_library(deployment):
    code = "import importlib.util; print(importlib.util.find_spec('torch'))"
    said = deployment.compose("exec", "-T", "web", "python", "-c", code)
    assert said.strip().endswith("None")
