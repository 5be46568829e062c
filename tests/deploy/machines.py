"""A studio whose node has a real Docker engine with user namespaces, and people with machines."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.deploy.build import BASE
from tests.deploy.engine import DockerEngine, keep_until_wanted, run_engine
from tests.deploy.supplies import get_base_tree
from tests.live import LiveStudio, run_studio, wait_for
from workers.machines.binds import list_mounted, unbind
from workers.machines.host import PASS_EVERY_S
from workers.scripts.box import Box

FOLDER = Path("/var/tmp/athanor-tests")
TRUTH_S = 15
"""In which the truth about a machine is told, whatever happened to it."""
_REST_S = 30  # in which what was deleted is gone
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

    def await_truth(self, user: str, key: str, status: str) -> dict[str, Any]:
        """Return a machine once this status is told of it, within as many reports of its node.

        A node reports each second, so that is `TRUTH_S`; on a busy test machine a second is longer.
        """
        heard: set[str] = set()

        def look() -> dict[str, Any] | None:
            found = self.look(user, key)
            if found.get("status") == status:
                print(f"truth: {status} after {len(heard)} more reports of its node")
                return found
            with self.studio.client("root", role="administrator") as client:
                (engine,) = [each["engine"] for each in client.get("/api/nodes/").json()]
            if engine["version"]:
                heard.add(engine["reported_at"])
            assert len(heard) <= TRUTH_S / PASS_EVERY_S, f"after {len(heard)} reports: {found}"
            return None

        return dict(wait_for(f"{key} to be {status}", look))

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
            left = list_left(path / "node")
            assert [each for each in left if "slots" not in each.parts] == []
        finally:
            for point in reversed(list_left(path / "node")):  # of machines of the engine that ends
                unbind(point)
            for run in (path / "node" / "runs").glob("*"):  # what a node that is gone cannot
                Box(run).close()


class SharedStudio:
    """One studio with an engine for all modules in a row that want one; it ends before any other
    engine of its data starts.
    """

    def __init__(self, make_path: Callable[[], Path]) -> None:
        self._make_path = make_path
        self._open: ExitStack | None = None
        self._house: MachineStudio | None = None

    def get(self) -> MachineStudio:
        """Return it, anew where there is none or the last module left it unwell."""
        known = self._house
        if known is not None:
            try:
                wait_for("it to be as it was", lambda: is_well(known), timeout_s=_REST_S)
                return known
            except AssertionError:
                self.close()
        opened = ExitStack()
        house = opened.enter_context(run_machine_studio(self._make_path()))
        self._open, self._house = opened, house
        keep_until_wanted(FOLDER / "docker", self.close)
        wait_for("the engine to be told", lambda: is_offered(house))
        return house

    def close(self) -> None:
        opened, self._open, self._house = self._open, None, None
        if opened is not None:
            opened.close()


def is_well(house: MachineStudio) -> bool:
    """Say whether it works, and has nothing left of those who used it."""
    try:
        for user in house.studio.tokens:
            runs = house.call(user, "GET", "/api/jobs/?status=live").json()["results"]
            if runs or house.call(user, "GET", "/api/machines/").json():
                return False
        return is_offered(house)
    except (httpx.TransportError, AssertionError):
        return False


def list_left(node_dir: Path) -> list[Path]:
    """Return what is mounted for a node."""
    notes = Path("/run/athanor").glob("*/node")
    folders = [note.parent for note in notes if note.read_text() == str(node_dir)]
    return [point for folder in folders for point in list_mounted(folder)]


def is_offered(house: MachineStudio) -> bool:
    said = house.call("ada", "GET", "/api/machines/options/").json()["engine"]
    assert said["is_available"] or "No Docker engine answers" in said["problem"], said
    return bool(said["is_available"])
