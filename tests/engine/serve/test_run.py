"""A serve run as a node starts it: recorded, reachable with its token, and stopped in time."""

import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import grpc
import httpx
import psutil
import pytest

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.events import Endpoint, Log
from engine.serve.group import join_group
from engine.serve.run import serve
from engine.specs import Placement, ServeSpec
from engine.status import Reason, Status
from engine.stopping import StopGate
from tests.engine.recorded import get_final, read_events, wait_for_log
from tests.engine.serve.tiny_models import open_backend, serve_backend


@pytest.fixture
def run_dir(tmp_path, base, red):
    folder = tmp_path / "run"
    folder.mkdir()
    spec = ServeSpec(model=str(base), adapters=(str(red),))
    placement = Placement(run_dir=folder, server_token="secret", num_threads=1, grpc_port=0)
    (folder / "spec.json").write_text(spec.model_dump_json())
    (folder / "placement.json").write_text(placement.model_dump_json())
    return folder


def find_endpoint(run_dir) -> Endpoint:
    # Model libraries alone take half a minute to load on a busy machine.
    for _ in range(4):
        with suppress(AssertionError):
            wait_for_log(run_dir, b'"type":"endpoint"')
            break
    return next(event for event in read_events(run_dir) if isinstance(event, Endpoint))


def test_a_serve_run_says_where_it_is_answers_and_stops(run_dir, base, red):
    process = subprocess.Popen([sys.executable, "-m", "engine", "run", str(run_dir)])
    try:
        endpoint = find_endpoint(run_dir)
        assert endpoint.models == [str(base), str(red)]
        body = {"model": str(red), "messages": [{"role": "user", "content": "x"}], "max_tokens": 3}
        answer = httpx.post(
            f"{endpoint.url}/v1/chat/completions",
            json=body,
            headers={"Authorization": "Bearer secret"},
        )
        assert answer.json()["usage"]["completion_tokens"] == 3
        log = b"".join(one.to_bytes() for one in read_events(run_dir) if isinstance(one, Log))
        port = int(re.search(rb"gRPC at port (\d+)", log)[1])
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            grpc.channel_ready_future(channel).result(30)
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    final = get_final(read_events(run_dir))
    assert (final.status, final.reason) == (Status.STOPPED, Reason.STOPPED_BY_OWNER)
    assert final.exit_code == 0


def test_a_taken_port_is_told_before_the_model_is_loaded(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        placement = Placement(run_dir=tmp_path, port=port)
        with pytest.raises(EngineError, match=f"127.0.0.1:{port} cannot be taken"):
            serve(ServeSpec(model="/nowhere"), placement, Emitter(), StopGate())


def find_followers(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children(recursive=True)
    return [child for child in children if child.environ().get("RANK", "0") != "0"]


def ask_models(url: str, names: list[str]) -> list[str]:
    body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 12, "temperature": 0}
    said = []
    for name in names:
        answer = httpx.post(
            f"{url}/v1/chat/completions",
            json=body | {"model": name},
            headers={"Authorization": "Bearer secret"},
            timeout=60,
        )
        said.append(answer.json()["choices"][0]["message"]["content"])
    return said


@pytest.mark.slow
def test_two_processes_that_share_a_model_answer_as_one_and_end_together(run_dir, base, red):
    spec = ServeSpec(model=str(base), adapters=(str(red),), tensor_parallel=2, precision="fp32")
    (run_dir / "spec.json").write_text(spec.model_dump_json())
    process = subprocess.Popen([sys.executable, "-m", "engine", "run", str(run_dir)])
    try:
        url = find_endpoint(run_dir).url
        names = [str(base), str(red)]
        with (
            open_backend(base, adapters=(str(red),)) as backend,
            serve_backend(backend, token="secret") as alone,
        ):
            assert ask_models(url, names) == ask_models(alone, names)
        followers = find_followers(process.pid)
        assert len(followers) == 1
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not any(follower.is_running() for follower in followers)
    assert get_final(read_events(run_dir)).status == Status.STOPPED


@pytest.mark.slow
def test_a_share_that_is_lost_ends_the_run_and_says_so(run_dir, base):
    spec = ServeSpec(model=str(base), tensor_parallel=2)
    (run_dir / "spec.json").write_text(spec.model_dump_json())
    process = subprocess.Popen([sys.executable, "-m", "engine", "run", str(run_dir)])
    try:
        find_endpoint(run_dir)
        (follower,) = find_followers(process.pid)
        follower.kill()
        process.wait(30)
    finally:
        process.kill()
    final = get_final(read_events(run_dir))
    assert (final.status, final.reason) == (Status.FAILED, Reason.KILLED)
    assert "Process 1 of the run was ended by SIGKILL" in final.message


@pytest.mark.parametrize(
    "parallel, devices, words",
    [(2, (), "asks for 2 processes and there are 1"), (3, (0,), "asks for 3 processes")],
)
def test_who_shares_with_nobody_is_told(tmp_path, base, parallel, devices, words):
    spec = ServeSpec(model=str(base), tensor_parallel=parallel)
    with pytest.raises(EngineError, match=words) as refused:
        serve(spec, Placement(run_dir=tmp_path, devices=devices), Emitter(), StopGate())
    assert refused.value.reason == Reason.BAD_SPEC


def test_fewer_gpus_than_shares_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(EngineError, match="asks for 2 GPUs and the run has 1: lower it"):
        join_group(
            ServeSpec(model="./m", tensor_parallel=2), Placement(run_dir=tmp_path, devices=(0,))
        )
