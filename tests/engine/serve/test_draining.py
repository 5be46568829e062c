"""A server that is asked to stop: who is inside may end, who comes late hears it."""

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

BODY = {"model": "base", "messages": [{"role": "user", "content": "Hi"}]}


@contextmanager
def run_server(release, grace_s):
    """Run a server with one request inside; gives the process, its address and that request."""
    command = [sys.executable, "-m", "tests.engine.serve.draining", str(release), str(grace_s)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        door = f"{process.stdout.readline().strip()}/v1/chat/completions"
        with ThreadPoolExecutor() as pool:
            inside = pool.submit(httpx.post, door, json=BODY, timeout=60)
            while not release.with_suffix(".begun").exists():
                time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "closing\n"
            yield process, door, inside
    finally:
        process.kill()
        process.wait()


def test_who_is_inside_may_end_and_who_comes_late_hears_it(tmp_path):
    release = tmp_path / "release"
    with run_server(release, 60) as (process, door, inside):
        late = httpx.post(door, json=BODY)
        health = httpx.get(door.replace("v1/chat/completions", "health"))
        assert (late.status_code, late.json()["error"]["code"]) == (503, "server_closing")
        assert late.headers["Retry-After"] == "1"
        assert (health.status_code, health.json()["status"]) == (503, "closing")
        release.touch()
        assert inside.result().json()["choices"][0]["message"]["content"] == "late"
        assert process.wait(30) == -signal.SIGTERM


@pytest.mark.parametrize(("grace_s", "num_signals"), [(0.2, 1), (60, 2)])
def test_who_stays_too_long_is_cut_off(tmp_path, grace_s, num_signals):
    with run_server(tmp_path / "never", grace_s) as (process, _, inside):
        for _ in range(num_signals - 1):
            process.send_signal(signal.SIGTERM)
        assert process.wait(30) == -signal.SIGTERM
        with pytest.raises(httpx.HTTPError):
            inside.result().raise_for_status()
