"""The whole machine image, built as it ships: its tools in a browser and over SSH, its clients."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect
from websockets.sync.client import ClientConnection

from scripts.scan_image import scan_image
from tests.clients.test_environments import make_wheel
from tests.deploy.callers import Caller, get_enter_url
from tests.deploy.engine import run_engine, why_not
from tests.deploy.machine_image import TRUSTING, build_machine_image
from tests.deploy.machines import FOLDER, MachineStudio, is_offered
from tests.deploy.test_machine_studio import make_key
from tests.journeys.browser import open_browser
from tests.live import ROOT, free_port, run_studio, wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(3600)]
PORTS = {"vscode": 8080, "lab": 8888, "tensorboard": 6006}


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[MachineStudio]:
    if reason := why_not():
        pytest.fail(reason)
    with run_engine("--userns-remap=default", data=FOLDER / "docker") as docker:
        image = build_machine_image(docker)
        env = {"DOCKER_HOST": f"unix://{docker.socket}", "ATHANOR_SPARE_MACHINES": "1"}
        with run_studio(tmp_path_factory.mktemp("studio"), **env) as studio:
            tools = [f"--tool={name}={port}" for name, port in PORTS.items()]
            studio.manage("machine_image", "add", "base", image, *tools)
            yield MachineStudio(studio, docker, image)


@pytest.fixture(scope="module")
def box(house) -> dict:
    """Ada's machine, made of a spare one as most people's are; its tools listen."""
    wait_for("the engine to be told", lambda: is_offered(house))
    assert house.call("ada", "PATCH", "/api/me/", language="zh").status_code == 200
    spare = wait_for("a spare machine", lambda: find_spare(house))
    wait_for("it to have read its tools", lambda: is_idle(house, spare))
    made = house.create("ada", "box", flavor="cpu-2")
    found = house.wait("ada", made["key"], "running")
    assert spare == find_id(house, house.container(found))
    await_tools(house, found)
    return found


def find_spare(house: MachineStudio) -> str:
    listed = house.docker.run("docker", "ps", "--quiet", "--filter", "name=athanor-spare-").stdout
    return listed.strip()


def find_id(house: MachineStudio, name: str) -> str:
    listed = house.docker.run("docker", "ps", "--quiet", "--filter", f"name={name}")
    return listed.stdout.strip()


def is_idle(house: MachineStudio, container: str) -> bool:
    """Whether what waits in a spare machine has read all there is: both tools listen to a pipe."""
    told = house.docker.run("docker", "top", container, "-eo", "pid,wchan:20,args").stdout
    waiting = [line for line in told.splitlines() if "/opt/athanor/spare/" in line]
    return len(waiting) == 2 and all("pipe_read" in line for line in waiting)


def await_tools(house: MachineStudio, box: dict) -> None:
    said = house.inside(box, "athanor-machine wait 100 && echo READY")
    assert "READY" in said, said + house.inside(box, "tail -n 20 /var/log/athanor/*.log")


@pytest.fixture
def call_at(house, box):
    """`call_at(port)` is ada's page there."""
    opened: list[Caller] = []

    def open_at(port: int) -> Caller:
        opened.append(Caller(house, "ada", box, port))
        return opened[-1]

    yield open_at
    for each in opened:
        each.close()


def test_the_image_holds_no_secret_and_nothing_that_everybody_may_change(house, monkeypatch):
    for name in ("DOCKER_HOST", "DOCKER_CONFIG"):
        monkeypatch.setenv(name, house.docker.env[name])
    assert scan_image(house.image, TRUSTING) == []


def test_what_people_look_for_is_on_the_path(house, box):
    looked_for = {
        "node --version": "v20.",
        "npm --version": "10.",
        "npm prefix --global": "/usr/local",
        "python --version": "Python 3.11",
        "pip --version": "/opt/python",
        "git --version": "git version",
        "tmux -V": "tmux",
        "code-server --version": "4.100",
        "jupyter lab --version": "4.",
        "tensorboard --version": "2.",
        "complete -p athanor": "athanor",
    }
    told = house.inside(box, f"bash -ic '{'; echo =; '.join(looked_for)}'")
    told = told.partition("v20.")[1] + told.partition("v20.")[2]
    for command, said in zip(looked_for, told.split("=\n"), strict=True):
        assert looked_for[command] in said, (command, told)
    for folder in ("zsh/site-functions/_athanor", "fish/vendor_completions.d/athanor.fish"):
        assert "athanor" in house.inside(box, f"cat /usr/local/share/{folder}")


def test_vs_code_is_a_page_of_the_machine_s_own_origin(call_at):
    answer = call_at(8080).visit("/")
    assert answer.status_code == 200 and "workbench" in answer.text, answer.text[:500]
    assert "text/html" in answer.headers["content-type"]


def test_a_file_is_written_in_vs_code_in_a_browser(house, box):
    text = {"path": "note.txt", "text": "from the drive\n"}
    with house.studio.client("ada") as api:
        made = api.put("/api/drive/text/", json=text, headers={"If-None-Match": "*"})
    assert made.status_code == 200, made.text
    with open_browser() as browser:
        page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
        page.goto(get_enter_url(house, "ada", box, 8080))
        # The list of files comes from the machine by VS Code's own WebSocket, and nothing is asked
        # before: a dialog would take the click.
        page.get_by_role("treeitem", name="note.txt").dblclick()
        editor = page.locator(".monaco-editor").first
        expect(editor.get_by_text("from the drive")).to_be_visible()
        editor.locator(".view-line").first.click()
        page.keyboard.press("Control+Home")
        page.keyboard.type("typed ")
        page.keyboard.press("Control+S")
        wait_for(
            "what was typed to be in the drive",
            lambda: house.inside(box, "cat /root/note.txt") == "typed from the drive\n",
        )


def test_a_notebook_s_kernel_computes(call_at):
    page = call_at(8888)
    assert page.visit("/lab").status_code == 200
    kernel = page.request("POST", "/api/kernels", json={"name": "python3"})
    assert kernel.status_code == 201, kernel.text
    with page.open_socket(f"/api/kernels/{kernel.json()['id']}/channels") as channel:
        channel.send(ask("import sys, numpy; print(sys.prefix, numpy.arange(4).sum())"))
        said = wait_for("the cell's output", lambda: read_output(channel), timeout_s=90)
    assert said == "/opt/python 6\n"


def test_a_busy_kernel_counts_as_use_for_as_long_as_it_is_busy(house, box, call_at):
    page = call_at(8888)
    assert page.visit("/lab").status_code == 200
    kernel = page.request("POST", "/api/kernels", json={"name": "python3"}).json()["id"]
    with page.open_socket(f"/api/kernels/{kernel}/channels") as channel:
        channel.send(ask("import os, time\nwhile not os.path.exists('/tmp/go'): time.sleep(0.2)"))
        wait_for("its kernel to be told", lambda: tell_sign(house, box) == "kernel")
        house.inside(box, "touch /tmp/go")
        wait_for("it to be idle again", lambda: tell_sign(house, box) != "kernel")
    assert page.request("DELETE", f"/api/kernels/{kernel}").status_code == 204


def ask(code: str) -> str:
    """Return a request of Jupyter's messaging protocol (5.3) to run code."""
    header = {"msg_id": "1", "session": "s", "username": "", "msg_type": "execute_request"}
    asked = {
        "header": header | {"version": "5.3", "date": "2026-01-01T00:00:00Z"},
        "parent_header": {},
        "metadata": {},
        "content": {"code": code, "silent": False, "store_history": False, "allow_stdin": False},
        "channel": "shell",
    }
    return json.dumps(asked)


def read_output(channel: ClientConnection) -> str:
    told = json.loads(channel.recv(timeout=60))
    return str(told["content"]["text"]) if told["msg_type"] == "stream" else ""


def test_the_notebook_begins_in_the_language_that_its_owner_has_in_the_studio(house, box):
    with open_browser() as browser:
        page = browser.new_context(locale="en-US").new_page()
        page.goto(get_enter_url(house, "ada", box, 8888))
        expect(page.get_by_role("menuitem", name="文件")).to_be_visible()


def test_tensorboard_starts_with_its_first_visitor(call_at):
    page = call_at(6006)

    def is_up() -> bool:
        answer = page.request("GET", "/")
        return answer.status_code == 200 and "TensorBoard" in answer.text

    wait_for("TensorBoard", is_up, timeout_s=120)
    assert page.request("GET", "/data/runs").json() == []


FETCH = """
import openai
from datasets import load_dataset
from huggingface_hub import create_repo, hf_hub_download, list_models, upload_file, upload_folder
from huggingface_hub import whoami
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM
from transformers import PreTrainedTokenizerFast
me = whoami()["name"]
create_repo(f"{me}/tiny", exist_ok=True)
upload_file(path_or_fileobj=b'{"a": 1}', path_in_repo="config.json", repo_id=f"{me}/tiny")
print(me, open(hf_hub_download(f"{me}/tiny", "config.json")).read())
print("listed", f"{me}/tiny" in [each.id for each in list_models()])
print("models", len(list(openai.OpenAI().models.list())) > 0)
create_repo(f"{me}/rows", repo_type="dataset", exist_ok=True)
rows = b'{"text": "one"}\\n{"text": "two"}\\n'
where = dict(path_in_repo="rows.jsonl", repo_id=f"{me}/rows", repo_type="dataset")
upload_file(path_or_fileobj=rows, **where)
print("rows", load_dataset(f"{me}/rows", split="train")["text"][:])
words = Tokenizer(models.WordLevel({"<unk>": 0, "one": 1, "two": 2}, unk_token="<unk>"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
made = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>")
sizes = dict(vocab_size=3, hidden_size=8, intermediate_size=16, num_hidden_layers=1)
tiny = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=2))
made.save_pretrained("/tmp/words")
tiny.save_pretrained("/tmp/words")
create_repo(f"{me}/words", exist_ok=True)
upload_folder(folder_path="/tmp/words", repo_id=f"{me}/words")
tokenizer = AutoTokenizer.from_pretrained(f"{me}/words")
model = AutoModelForCausalLM.from_pretrained(f"{me}/words")
asked = tokenizer("one two", return_tensors="pt", return_token_type_ids=False)
print("logits", tuple(model(**asked).logits.shape))
"""


def test_the_studio_s_clients_work_by_the_environment_alone(house, box):
    told = json.loads(house.inside(box, "bash -lc 'athanor whoami --json'"))
    assert told["username"] == "ada"
    house.inside(box, f"cat > /root/fetch.py <<'END'\n{FETCH}\nEND")
    said = house.inside(box, "bash -lc 'python /root/fetch.py'")
    assert 'ada {"a": 1}' in said and "listed True" in said and "models True" in said, said
    assert "rows ['one', 'two']" in said and "logits (1, 2, 3)" in said, said


def test_the_image_carries_the_engine(house, box):
    said = house.inside(box, "bash -lc 'cd / && python -m engine schema train'")
    assert "tokens_per_step" in said


@pytest.fixture(scope="module")
def ssh(house, box, tmp_path_factory):
    """`ssh(*words)` is the client's words before a command of one's own."""
    folder = tmp_path_factory.mktemp("ssh")
    key = {"name": "laptop", "public_key": make_key(folder / "key")}
    assert house.call("ada", "POST", "/api/ssh-keys/", **key).status_code == 201
    port = house.call("ada", "GET", "/api/machines/options/").json()["ssh"]["port"]
    options = ["StrictHostKeyChecking=no", f"UserKnownHostsFile={folder}/known", "BatchMode=yes"]
    options += ["IdentitiesOnly=yes", "ExitOnForwardFailure=yes", f"Port={port}"]
    words = ["-i", str(folder / "key")]
    words += [word for option in options for word in ("-o", option)]
    return lambda *more, program="ssh": [program, *words, *more, "box@127.0.0.1"]


def say(words: list[str], given: str | None = None) -> str:
    done = subprocess.run(words, text=True, capture_output=True, timeout=120, input=given)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_files_go_over_ssh_and_a_command_has_the_machine_s_environment(ssh, tmp_path):
    (tmp_path / "mine").write_text("mine\n")
    commands = f"put {tmp_path}/mine sent\nget sent {tmp_path}/back\n"
    say(ssh("-b", "-", program="sftp"), commands)
    assert (tmp_path / "back").read_text() == "mine\n"
    assert say([*ssh(), "cat /root/sent; athanor whoami"]).startswith("mine\nada")


def test_a_detached_run_outlives_its_connection_and_the_portal(house, box, ssh):
    say([*ssh(), "athanor run --name ticks -- sh -c 'while :; do echo tick; sleep 0.2; done'"])
    for part in ("web", "ssh", "control"):
        house.studio.wait_restarted(part, house.studio.kill(part))

    def count() -> int:
        return int(house.inside(box, "wc -l < /root/.athanor/runs/ticks/log"))

    before = count()
    wait_for("its log to go on", lambda: count() > before + 5)
    wait_for("the studio to be healthy", house.studio.is_healthy, timeout_s=90)
    wait_for("the page to name it", lambda: tell_sign(house, box) == "run")
    assert "ended" in say([*ssh(), "athanor end ticks"])


def tell_sign(house: MachineStudio, box: dict) -> str:
    """Return by what the machine counts as used."""
    return str((house.look("ada", box["key"])["idle"] or {}).get("sign"))


def test_ssh_has_what_an_editor_s_server_needs(ssh):
    """VS Code runs its server by exec and comes to it at a port, PyCharm at a socket as well."""
    server = (
        'nohup node -e "const serve = (text) => '
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


def test_a_shared_environment_is_cloned_and_installed_into(house, box, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, version in ((first, "1.0"), (second, "2.0")):
        folder.mkdir()
        make_wheel(folder, version)
    (tmp_path / "requirements.txt").write_text("hues\n")
    words = ["build", "lab", str(tmp_path / "requirements.txt"), "--image", house.image]
    words += ["--wheels", str(first), "--network", "none", "--env", "PIP_NO_INDEX=1"]
    lay_out(house, *words)
    assert "lab" in house.inside(box, "athanor env list")
    clone = "/root/envs/lab"
    assert f"{clone} is yours" in house.inside(box, "athanor env clone lab")
    assert house.inside(box, f"{clone}/bin/hues") == f"hues 1.0 {clone}\n"
    wheel = second / "hues-2.0-py3-none-any.whl"
    house.docker.run("docker", "cp", str(wheel), f"{house.container(box)}:/root/")
    said = house.inside(box, f"{clone}/bin/pip install --no-index /root/{wheel.name}")
    assert "Successfully installed hues-2.0" in said, said
    assert house.inside(box, f"{clone}/bin/hues") == f"hues 2.0 {clone}\n"
    assert house.inside(box, "/share/envs/lab/bin/hues").startswith("hues 1.0")
    said = house.inside(box, "touch /share/envs/lab/x; rm /share/envs/lab/bin/hues")
    assert said.count("Read-only file system") == 2


def lay_out(house: MachineStudio, *words: str) -> None:
    folder: Path = house.studio.data_dir / "node"
    done = subprocess.run(
        [sys.executable, "-m", "workers.environments", "--node-dir", str(folder), *words],
        env=os.environ | house.docker.env, cwd=ROOT, text=True, capture_output=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0 and "machines see it now" in done.stdout, done.stderr


def test_its_tools_begin_again_when_it_does(house, box, call_at):
    path = f"/api/machines/{box['key']}/restart/"
    assert house.call("ada", "POST", path).status_code == 200
    house.wait("ada", box["key"], "stopping")
    house.wait("ada", box["key"], "running")
    await_tools(house, box)
    assert "workbench" in call_at(8080).visit("/").text
    assert call_at(8888).visit("/lab").status_code == 200
