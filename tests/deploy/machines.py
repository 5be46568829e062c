"""A studio whose node has a real Docker engine with user namespaces, and people with machines."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.deploy.build import BASE
from tests.deploy.engine import DockerEngine, run_engine
from tests.deploy.supplies import get_base_tree
from tests.live import LiveStudio, run_studio, wait_for
from workers.scripts.box import Box

FOLDER = Path("/var/tmp/athanor-tests")
_DOCKERFILE = f"""FROM {BASE}
COPY start.py /start.py
CMD ["python3", "/start.py"]
"""
# Serves what it is asked on 8080, and SSH as the shipped image does.
_START = """
import http.server, json, os, subprocess
os.makedirs("/run/sshd", exist_ok=True)
subprocess.run(["ssh-keygen", "-A"], check=True, capture_output=True)
subprocess.Popen(["/usr/sbin/sshd", "-D", "-o", "UsePAM=no", "-o", "StrictModes=no",
    "-o", "AuthorizedKeysFile=/run/athanor/gateway_key.pub"])
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"path": self.path, "headers": dict(self.headers)}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Echo).serve_forever()
"""


@dataclass
class MachineStudio:
    """A studio with an image, and how its people do things."""

    studio: LiveStudio
    docker: DockerEngine
    image: str

    def call(self, user: str, method: str, path: str, /, **body: Any) -> httpx.Response:
        """Call the API as a person, who is made where new, with points."""
        if user not in self.studio.tokens:
            self.studio.grant(user, 1_000_000)
        with self.studio.client(user) as client:
            return client.request(method, path, json=body or None)

    def create(self, user: str, name: str, **changes: Any) -> dict[str, Any]:
        wish = {"name": name, "image": "base", "flavor": "cpu-1", "duration_s": 1800} | changes
        made = self.call(user, "POST", "/api/machines/", **wish)
        assert made.status_code == 201, made.text
        return dict(made.json())

    def look(self, user: str, key: str) -> dict[str, Any]:
        return dict(self.call(user, "GET", f"/api/machines/{key}/").json())

    def wait(self, user: str, key: str, status: str, *, timeout_s: float = 60) -> dict[str, Any]:
        def there() -> dict[str, Any] | None:
            found = self.look(user, key)
            return found if found.get("status") == status else None

        try:
            return dict(wait_for(f"{key} to be {status}", there, timeout_s=timeout_s))
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.look(user, key)}") from error

    def inside(self, machine: dict[str, Any], command: str) -> str:
        """Run a command in a machine as its root; what it says."""
        name = self.container(machine)
        assert name, "there is no container"
        done = subprocess.run(
            ["docker", "exec", name, "sh", "-c", f"exec 2>&1; {command}"],
            env=self.docker.env, text=True, capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        return done.stdout

    def container(self, machine: dict[str, Any]) -> str:
        listed = self.docker.run(
            *("docker", "ps", "--all", "--format", "{{.Names}}"),
            *("--filter", f"name=^/athanor-{machine['key']}-"),
        )
        return listed.stdout.strip()


@contextmanager
def run_machine_studio(
    path: Path, prepare: Callable[[DockerEngine], dict[str, str]] = lambda docker: {}
) -> Iterator[MachineStudio]:
    """Start an engine and a studio, and offer the image `base`.

    `prepare` may put more into the engine, and returns variables of the node.
    """
    with run_engine("--userns-remap=default", data=FOLDER / "docker") as docker:
        docker.import_tree(get_base_tree(), BASE)
        context = docker.folder / "studio-machine"
        context.mkdir()
        (context / "start.py").write_text(_START)
        (context / "Dockerfile").write_text(_DOCKERFILE)
        docker.build(context / "Dockerfile", context, "athanor-test-studio-machine")
        shown = docker.run(
            "docker", "image", "inspect", "--format", "{{.Id}}", "athanor-test-studio-machine"
        )
        image = shown.stdout.strip()
        env = {"DOCKER_HOST": f"unix://{docker.socket}", "ATHANOR_MOCK_DEVICES": "1"}
        env["STUDIO_MACHINE_SCRATCH_GIB"] = "1"
        try:
            with run_studio(path, **env, **prepare(docker)) as studio:
                studio.manage("machine_image", "add", "base", image, "--tool", "vscode=8080")
                yield MachineStudio(studio, docker, image)
        finally:
            for run in (path / "node" / "runs").glob("*"):  # what a node that is gone cannot
                Box(run).close()


def is_offered(house: MachineStudio) -> bool:
    said = house.call("ada", "GET", "/api/machines/options/").json()["engine"]
    assert said["is_available"] or "No Docker engine answers" in said["problem"], said
    return bool(said["is_available"])
