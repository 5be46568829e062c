"""The whole machine image, built as it ships: its tools from a browser, SSH, the clients, env."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from scripts.scan_image import scan_image
from tests.clients.test_environments import make_wheel
from tests.deploy.engine import run_engine, why_not
from tests.deploy.machine_image import TRUSTING, build_machine_image
from tests.deploy.machines import FOLDER, MachineStudio
from tests.deploy.test_machine_studio import make_key
from tests.live import ROOT, free_port, run_studio, wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(1800)]
PORTS = {"vscode": 8080, "lab": 8888, "tensorboard": 6006}
BROWSER = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"}


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[MachineStudio]:
    if reason := why_not():
        pytest.fail(reason)
    with run_engine("--userns-remap=default", data=FOLDER / "docker") as docker:
        image = build_machine_image(docker)
        env = {"DOCKER_HOST": f"unix://{docker.socket}", "ATHANOR_MOCK_DEVICES": "1"}
        with run_studio(tmp_path_factory.mktemp("studio"), **env) as studio:
            tools = [f"--tool={name}={port}" for name, port in PORTS.items()]
            studio.manage("machine_image", "add", "base", image, *tools)
            yield MachineStudio(studio, docker, image)


@pytest.fixture(scope="module")
def box(house) -> dict:
    """Ada's machine, whose tools listen."""
    house.call("ada", "GET", "/api/me/")

    def is_offered() -> bool:
        return bool(
            house.call("ada", "GET", "/api/machines/options/").json()["engine"]["is_available"]
        )

    wait_for("the engine to be told", is_offered)
    made = house.create("ada", "box", flavor="cpu-2")
    found = house.wait("ada", made["key"], "running")
    said = house.inside(found, "athanor-machine wait 200 && echo READY")
    assert "READY" in said, said + house.inside(found, "tail -n 20 /var/log/athanor/*.log")
    return found


class Browser:
    """A client that is signed in at the origin of a machine's port, as a browser would be."""

    def __init__(self, house: MachineStudio, box: dict, port: int) -> None:
        path = f"/api/machines/{box['key']}/enter/"
        url = httpx.URL(house.call("ada", "POST", path, port=port).json()["url"])
        self.origin = f"{url.scheme}://{url.netloc.decode()}"
        self.headers = BROWSER | {"Host": url.netloc.decode(), "Origin": self.origin}
        self._port = house.studio.port
        with httpx.Client(base_url=house.studio.url, timeout=60) as door:
            answer = door.get(url.raw_path.decode(), headers={"Host": self.headers["Host"]})
        assert answer.status_code == 303, answer.text
        self._cookies = dict([answer.headers["set-cookie"].partition(";")[0].split("=", 1)])
        self._http = httpx.Client(base_url=house.studio.url, headers=self.headers, timeout=60)

    def request(self, method: str, path: str, **more) -> httpx.Response:
        answer = self._http.request(method, path, headers=self._told(), **more)
        for line in answer.headers.get_list("set-cookie"):
            name, value = line.partition(";")[0].split("=", 1)
            self._cookies[name] = value
        return answer

    def open_socket(self, path: str) -> ClientConnection:
        raw = socket.create_connection(("127.0.0.1", self._port), timeout=30)
        host = self.headers["Host"]
        headers = {"Cookie": self._told()["Cookie"]}
        return connect(
            f"ws://{host}{path}", sock=raw, origin=self.origin, additional_headers=headers
        )

    def close(self) -> None:
        self._http.close()

    def _told(self) -> dict[str, str]:
        told = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
        if "_xsrf" in self._cookies:
            told["X-XSRFToken"] = self._cookies["_xsrf"]
        return told


@pytest.fixture
def browse(house, box):
    """`browse(port)` gives a browser there."""
    opened = []

    def open_at(port: int) -> Browser:
        opened.append(Browser(house, box, port))
        return opened[-1]

    yield open_at
    for each in opened:
        each.close()


def test_the_image_holds_no_secret_and_nothing_that_everybody_may_change(house):
    env = os.environ | house.docker.env
    before = dict(os.environ)
    os.environ.update(env)
    try:
        assert scan_image(house.image, TRUSTING) == []
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_what_people_look_for_is_on_the_path(house, box):
    for command, told in (
        ("node --version", "v20."),
        ("npm --version", "10."),
        ("npm prefix --global", "/usr/local"),
        ("python --version", "Python 3.11"),
        ("pip --version", "/opt/python"),
        ("git --version", "git version"),
        ("tmux -V", "tmux"),
        ("code-server --version", "4.100"),
        ("tensorboard --version", "2."),
        ("athanor whoami", "ada"),
        ("complete -p athanor", "athanor"),
    ):
        said = house.inside(box, f"bash -ic '{command}'")
        assert told in said, (command, said)
    for folder in ("zsh/site-functions/_athanor", "fish/vendor_completions.d/athanor.fish"):
        assert "athanor" in house.inside(box, f"cat /usr/local/share/{folder}")


def test_vs_code_opens(browse):
    with closing(browse(8080)) as browser:
        answer = browser.request("GET", "/", follow_redirects=True)
        assert answer.status_code == 200 and "workbench" in answer.text
        assert "text/html" in answer.headers["content-type"]


def test_a_notebook_s_kernel_computes_and_the_page_speaks_chinese(browse):
    browser = browse(8888)
    assert browser.request("GET", "/lab").status_code == 200
    words = browser.request("GET", "/lab/api/translations/zh_CN").json()["data"]
    assert "文件" in json.dumps(words["jupyterlab"], ensure_ascii=False)
    kernel = browser.request("POST", "/api/kernels", json={"name": "python3"})
    assert kernel.status_code == 201, kernel.text
    code = "import sys, numpy; print(sys.prefix, numpy.arange(4).sum())"
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    header = {"msg_id": "1", "session": "s", "username": "", "msg_type": "execute_request"}
    asked = {
        "header": header | {"version": "5.3", "date": "2026-01-01T00:00:00Z"},
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
    }
    with browser.open_socket(f"/api/kernels/{kernel.json()['id']}/channels") as channel:
        channel.send(json.dumps(asked))
        said = wait_for("the cell's output", lambda: read_output(channel), timeout_s=90)
    assert said == "/opt/python 6\n"


def read_output(channel: ClientConnection) -> str:
    told = json.loads(channel.recv(timeout=60))
    return str(told["content"]["text"]) if told["msg_type"] == "stream" else ""


def test_tensorboard_starts_with_its_first_visitor(browse):
    browser = browse(6006)

    def is_up() -> bool:
        answer = browser.request("GET", "/")
        return answer.status_code == 200 and "TensorBoard" in answer.text

    wait_for("TensorBoard", is_up, timeout_s=120)
    assert browser.request("GET", "/data/runs").json() == []


FETCH = """
import openai
from huggingface_hub import HfApi, create_repo, hf_hub_download, upload_file, whoami
me = whoami()["name"]
create_repo(f"{me}/tiny", exist_ok=True)
upload_file(path_or_fileobj=b'{"a": 1}', path_in_repo="config.json", repo_id=f"{me}/tiny")
print(me, open(hf_hub_download(f"{me}/tiny", "config.json")).read())
print("models", len(list(openai.OpenAI().models.list())) > 0)
"""


def test_the_hub_s_and_openai_s_clients_work_by_the_environment_alone(house, box):
    house.inside(box, f"cat > /root/fetch.py <<'END'\n{FETCH}\nEND")
    said = house.inside(box, "bash -lc 'python /root/fetch.py'")
    assert 'ada {"a": 1}' in said and "models True" in said, said


@pytest.fixture(scope="module")
def ssh(house, box, tmp_path_factory):
    """`ssh(*words)` is the client's words before a command of one's own."""
    folder = tmp_path_factory.mktemp("ssh")
    key = {"name": "laptop", "public_key": make_key(folder / "key")}
    assert house.call("ada", "POST", "/api/ssh-keys/", **key).status_code == 201
    port = house.call("ada", "GET", "/api/machines/options/").json()["ssh"]["port"]
    options = ["StrictHostKeyChecking=no", f"UserKnownHostsFile={folder}/known", "BatchMode=yes"]
    options += ["IdentitiesOnly=yes", "ExitOnForwardFailure=yes"]
    words = ["ssh", "-i", str(folder / "key"), "-p", str(port)]
    words += [word for option in options for word in ("-o", option)]
    return lambda *more: [*words, *more, "box@127.0.0.1"]


def say(words: list[str]) -> str:
    done = subprocess.run(words, text=True, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ssh_has_what_an_editor_s_server_needs(ssh, tmp_path):
    """VS Code runs its server by exec and comes to it at a port, PyCharm at a socket as well."""
    server = (
        'cd /root && nohup node -e "const serve = (text) => '
        "require('http').createServer((q, r) => r.end(text)); "
        "serve('served').listen(9123, '127.0.0.1'); serve('socket').listen('/tmp/s.sock')\""
        " > /tmp/server.log 2>&1 & sleep 2; test -S /tmp/s.sock && echo up"
    )
    assert say([*ssh(), server]).strip() == "up"
    ports = free_port(), free_port()
    forwards = (f"127.0.0.1:{ports[0]}:127.0.0.1:9123", f"127.0.0.1:{ports[1]}:/tmp/s.sock")
    words = [word for each in forwards for word in ("-L", each)]
    tunnel = subprocess.Popen(ssh("-N", *words), stderr=subprocess.PIPE)
    try:
        for port, told in zip(ports, ("served", "socket"), strict=True):

            def answers(port: int = port, told: str = told) -> bool:
                return httpx.get(f"http://127.0.0.1:{port}/", timeout=10).text == told

            wait_for(told, answers)
    finally:
        tunnel.terminate()
        tunnel.wait(10)


def test_a_detached_run_outlives_its_session_and_the_studio_s_parts(house, box, ssh):
    begun = "bash -lc 'athanor run --name long -- sh -c \"echo begun; sleep 600\"'"
    assert "long runs" in say([*ssh("-tt"), begun])
    for part in ("web", "machines"):
        pid = house.studio.pids()[part]
        os.kill(pid, signal.SIGKILL)
        house.studio.wait_restarted(part, pid)
    wait_for("the studio to be healthy", house.studio.is_healthy, timeout_s=90)
    (run,) = json.loads(house.inside(box, "athanor runs --json"))
    assert (run["name"], run["status"]) == ("long", "running")
    assert house.inside(box, "athanor logs long") == "begun\n"
    assert "ended" in house.inside(box, "athanor end long")


def test_a_shared_environment_is_cloned_and_installed_into(house, box, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, version in ((first, "1.0"), (second, "2.0")):
        folder.mkdir()
        make_wheel(folder, version)
    (tmp_path / "requirements.txt").write_text("hues\n")
    words = ["build", "lab", str(tmp_path / "requirements.txt"), "--image", house.image]
    words += ["--wheels", str(first), "--network", "none", "--env", "PIP_NO_INDEX=1"]
    node_dir = house.studio.data_dir / "node"
    done = subprocess.run(
        [sys.executable, "-m", "workers.environments", "--node-dir", str(node_dir), *words],
        env=house.docker.env, cwd=ROOT, text=True, capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 and "machines see it now" in done.stdout, done.stderr
    assert "lab" in house.inside(box, "athanor env list")
    assert "lab is yours" in house.inside(box, "athanor env clone lab").replace("/root/envs/", "")
    clone = "/root/envs/lab"
    assert house.inside(box, f"{clone}/bin/hues") == f"hues 1.0 {clone}\n"
    copy_in(house, box, second / "hues-2.0-py3-none-any.whl", "/root")
    said = house.inside(box, f"{clone}/bin/pip install --no-index /root/hues-2.0-*.whl")
    assert "Successfully installed hues-2.0" in said, said
    assert house.inside(box, f"{clone}/bin/hues") == f"hues 2.0 {clone}\n"
    assert house.inside(box, "/share/envs/lab/bin/hues").startswith("hues 1.0")
    said = house.inside(box, "touch /share/envs/lab/x; rm /share/envs/lab/bin/hues")
    assert said.count("Read-only file system") == 2


def copy_in(house: MachineStudio, box: dict, file: Path, folder: str) -> None:
    house.docker.run("docker", "cp", str(file), f"{house.container(box)}:{folder}/")
