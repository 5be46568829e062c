"""A serve run as a node starts it: recorded, reachable with its token, and stopped in time."""

import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import grpc
import httpx
import pytest

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.events import Endpoint, Log
from engine.serve.run import serve
from engine.specs import Placement, ServeSpec
from engine.status import Reason, Status
from engine.stopping import StopGate
from tests.engine.recorded import get_final, read_events, wait_for_log


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
