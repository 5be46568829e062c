"""`make demo`: the demo client against the studio that runs here, or one started for it."""

import os
import signal
import subprocess
import sys
import time

import httpx

from studio.up.places import PYTHON, ROOT, Places

_START_S = 300.0
_STOP_S = 40.0


def run_demo(places: Places, *, running: bool) -> int:
    """Run the demo and return its exit code. A studio started for it is stopped again."""
    if running:
        return _run_client(places)
    log = places.data_dir / "demo-studio.log"
    places.data_dir.mkdir(parents=True, exist_ok=True)
    print(f"athanor: starting a studio on {places.data_dir} ({places.url})", file=sys.stderr)
    with log.open("wb") as output:
        parent = subprocess.Popen(
            [PYTHON, "-m", "studio.cli", "up"], cwd=ROOT, stdout=output, stderr=output
        )
    try:
        if not _await_healthy(places, parent):
            print(log.read_text()[-3000:], file=sys.stderr)
            print(f"athanor: the studio did not start; see {log}.", file=sys.stderr)
            return 1
        return _run_client(places)
    finally:
        parent.send_signal(signal.SIGTERM)
        try:
            parent.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            parent.kill()
        subprocess.run([PYTHON, "-m", "studio.cli", "down"], cwd=ROOT, check=False)


def _await_healthy(places: Places, parent: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and parent.poll() is None:
        try:
            if httpx.get(f"{places.url}/healthz", timeout=10).status_code == 200:
                return True
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    return False


def _run_client(places: Places) -> int:
    token = _make_token(places, "demo")
    admin_token = _make_token(places, "admin", "--role", "administrator", "--admin")
    command = [PYTHON, "-m", "clients.demo", "--url", places.url]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("STUDIO_", "DJANGO_"))}
    # Not as arguments, which every user of the machine can read.
    env |= {"ATHANOR_TOKEN": token, "ATHANOR_ADMIN_TOKEN": admin_token}
    return subprocess.run(command, cwd=ROOT, env=env, check=False).returncode


def _make_token(places: Places, *arguments: str) -> str:
    command = [PYTHON, str(ROOT / "manage.py"), "token", *arguments]
    answer = subprocess.check_output(command, env=places.command_env(), text=True)
    return answer.strip().splitlines()[-1].strip()
