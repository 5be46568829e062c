"""Scripts of users from the studio's API into a real container and out again, and their faults."""

import hashlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.machines import MachineStudio
from tests.live import wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]
FINAL = ("succeeded", "failed", "stopped")
ODD = r"""
import hashlib, os, sys
said = [b"caf\xc3\xa9\n", b"\r 10 %\r 100 %\n", b"\xff\xfe\x00 no text\n", b"x" * 2**20 + b"\n"]
said += [b"\n\n  \t \n", b"\x1b[31mred\x1b[0m\n", b"the end, without a newline"]
hashed = hashlib.sha256(b"".join(said)).hexdigest()
open("/root/hash", "w").write(hashed)
for piece in said:
    out = sys.stderr if len(piece) < 9 else sys.stdout
    out.buffer.write(piece)
    out.buffer.flush()
"""
COUNT = "i=0; while [ $i -lt {n} ]; do echo line $i; i=$((i+1)); sleep 0.1; done"


def submit(house: MachineStudio, user: str, *command: str, **spec: Any) -> dict[str, Any]:
    made = house.call(
        user,
        "POST",
        "/api/jobs/",
        spec={"kind": "script", "command": command, "time_limit_minutes": 30, **spec},
        flavor="cpu-1",
    )
    assert made.status_code == 201, made.text
    return dict(made.json())


def look(house: MachineStudio, user: str, job: dict[str, Any]) -> dict[str, Any]:
    return dict(house.call(user, "GET", f"/api/jobs/{job['id']}/").json())


def end(house: MachineStudio, user: str, job: dict[str, Any], timeout_s: float = 60) -> dict:
    def there() -> dict[str, Any] | None:
        found = look(house, user, job)
        return found if found["status"] in FINAL else None

    try:
        return dict(wait_for("the run to end", there, timeout_s=timeout_s))
    except AssertionError as error:
        found = look(house, user, job)
        raise AssertionError(f"{error}: {found}, {read_log(house, user, found)!r}") from error


def read_log(house: MachineStudio, user: str, job: dict[str, Any]) -> bytes:
    return house.call(user, "GET", f"/api/runs/{job['run']['id']}/log/download/").content


def find_container(house: MachineStudio, job: dict[str, Any]) -> str:
    listed = house.docker.run(
        *("docker", "ps", "--all", "--format", "{{.Names}}"),
        *("--filter", f"label=athanor.run={job['run']['id']}"),
    )
    return listed.stdout.strip()


def wait_container(house: MachineStudio, user: str, job: dict[str, Any]) -> str:
    try:
        return str(wait_for("its container", lambda: find_container(house, job)))
    except AssertionError as error:
        found = look(house, user, job)
        raise AssertionError(f"{error}: {found}, {read_log(house, user, found)!r}") from error


def test_a_script_runs_with_its_owners_drive_and_its_log_is_what_it_wrote(house):
    house.call("ada", "GET", "/api/me/")
    with house.studio.client("ada") as browser:
        written = browser.put(
            "/api/drive/text/",
            json={"path": "odd.py", "text": ODD},
            headers={"If-None-Match": "*"},
        )
    assert written.status_code == 200, written.text
    job = end(house, "ada", submit(house, "ada", "python3", "odd.py"))
    assert job["status"] == "succeeded", (job, read_log(house, "ada", job)[-500:])
    log = read_log(house, "ada", job)
    told = next(house.studio.data_dir.rglob("home/hash")).read_text()
    assert hashlib.sha256(log).hexdigest() == told
    assert log.endswith(b"the end, without a newline") and len(log) > 2**20
    assert job["run"]["log_complete"] is True
    assert not find_container(house, job)
    assert job["held_mpoints"] == 0 and job["cost_mpoints"] >= 0


def test_its_metrics_inputs_and_output_go_where_they_belong(house):
    code = (
        "cat /inputs/data/*.jsonl | head -c 20; echo; touch /inputs/data/x && echo WROTE; "
        "echo '{\"loss\": 0.5}' >> $ATHANOR_METRICS; "
        'echo \'{"step": 7, "loss": 0.25, "done": 1, "total": 2}\' >> $ATHANOR_METRICS; '
        "echo no json >> $ATHANOR_METRICS; "
        "mkdir $ATHANOR_OUTPUT/sub; echo made > $ATHANOR_OUTPUT/sub/file.txt; "
        "ln -s /etc/shadow $ATHANOR_OUTPUT/shadow; ln -s /etc $ATHANOR_OUTPUT/etc; "
        'echo "home $HOME, $MINE, $(pwd)"'
    )
    job = submit(
        house,
        "ada",
        *("sh", "-c", code),
        inputs={"data": "datasets/athanor/athanor-guide"},
        environment={"MINE": "of mine"},
        output="from-script",
        home="empty",
    )
    job = end(house, "ada", job)
    log = read_log(house, "ada", job).decode()
    assert job["status"] == "succeeded", (job, log)
    assert '{"messages"' in log and "WROTE" not in log, log
    assert "home /root, of mine, /root" in log and "2 links or special files" in log, log
    assert "1 lines in $ATHANOR_METRICS" in log
    series = house.call("ada", "GET", f"/api/runs/{job['run']['id']}/metrics/").json()["series"]
    assert [point[:2] for point in series["loss"]] == [[1, 0.5], [7, 0.25]]
    assert job["output_repo"] == "ada/from-script" and job["output_revision"]
    got = house.call("ada", "GET", "/ada/from-script/resolve/main/sub/file.txt")
    assert got.text == "made\n"
    tree = house.call("ada", "GET", "/api/models/ada/from-script/tree/main?recursive=true").text
    assert "shadow" not in tree and "passwd" not in tree
    assert "@" in job["resolved"]["inputs"]["data"]


def test_how_it_ends_is_told(house):
    failed = submit(house, "ada", "sh", "-c", "echo no >&2; exit 3")
    absent = submit(house, "ada", "no-such-program")
    eater = "import time; held = bytearray(b'x') * (6 * 2**30); time.sleep(60)"
    bomb = submit(house, "ada", "python3", "-c", eater)
    failed = end(house, "ada", failed)
    assert (failed["status"], failed["reason"]) == ("failed", "crashed"), failed["message"]
    assert failed["run"]["exit_code"] == 3 and "exit status 3" in failed["message"]
    assert read_log(house, "ada", failed) == b"no\n"
    absent = end(house, "ada", absent)
    assert absent["run"]["exit_code"] == 127
    assert b"no-such-program" in read_log(house, "ada", absent)
    bomb = end(house, "ada", bomb)
    assert bomb["reason"] == "out_of_memory", bomb["message"]


def test_a_stop_is_heard_first_and_final_within_seconds(house):
    waiting = "trap 'echo saving; exit 0' TERM; echo on; while :; do sleep 0.1; done"
    job = submit(house, "ada", "sh", "-c", waiting)
    wait_for("it to say so", lambda: read_log(house, "ada", job) == b"on\n")
    house.call("ada", "POST", f"/api/jobs/{job['id']}/stop/")
    job = end(house, "ada", job, timeout_s=20)
    assert (job["status"], job["reason"]) == ("stopped", "stopped_by_owner")
    assert read_log(house, "ada", job) == b"on\nsaving\n"
    deaf = submit(house, "ada", "sh", "-c", "trap '' TERM; echo on; while :; do sleep 1; done")
    wait_for("it to say so", lambda: read_log(house, "ada", deaf) == b"on\n")
    house.call("ada", "POST", f"/api/jobs/{deaf['id']}/stop/")
    deaf = end(house, "ada", deaf, timeout_s=20)
    assert deaf["status"] == "stopped"
    wait_for("its container to go", lambda: not find_container(house, deaf))


def test_killed_parts_lose_nothing_of_a_script_that_runs(house):
    job = submit(house, "ada", "sh", "-c", COUNT.format(n=200))
    wait_for("it to begin", lambda: b"line 3\n" in read_log(house, "ada", job))
    for part in ("supervisor", "reporter", "worker", "control", "web", "machines", "redis"):
        pid = house.studio.pids().get(part)
        if pid:
            os.kill(pid, signal.SIGKILL)
            house.studio.wait_restarted(part, pid)
    wait_for("the studio to be healthy", house.studio.is_healthy, timeout_s=90)
    job = end(house, "ada", job, timeout_s=120)
    assert job["status"] == "succeeded" and len(job["runs"]) == 1, job
    wanted = b"".join(b"line %d\n" % number for number in range(200))
    assert read_log(house, "ada", job) == wanted
    assert job["run"]["log_complete"] is True


def test_a_killed_recorder_leaves_no_container(house):
    job = submit(house, "ada", "sh", "-c", "echo on; sleep 600")
    wait_for("it to say so", lambda: read_log(house, "ada", job) == b"on\n")
    found = subprocess.run(
        ["pgrep", "-f", f"engine run .*{job['run']['id']}"], capture_output=True, text=True
    )
    for pid in found.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    job = end(house, "ada", job)
    assert (job["status"], job["reason"]) == ("failed", "node_lost")
    wait_for("its container to go", lambda: not find_container(house, job))


def test_a_script_is_walled_in_and_holds_no_secret(house):
    theirs = submit(house, "bob", "python3", "-m", "http.server", "8000")
    wait_for("it to run", lambda: look(house, "bob", theirs)["status"] == "running")
    name = wait_container(house, "bob", theirs)
    asked = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{.Gateway}}{{end}}"
    inspect = ("docker", "inspect", "--format", asked, name)
    # Made, it has no address before it starts.
    address, gateway = wait_for("its address", lambda: house.docker.run(*inspect).stdout.split())
    targets = [(address, 8000), (gateway, house.studio.port), ("169.254.169.254", 80)]
    tries = "; ".join(
        f"timeout 3 bash -c '</dev/tcp/{host}/{port}' && echo REACHED {host}:{port}"
        for host, port in targets
    )
    looks = (
        "grep -E 'CapBnd|NoNewPrivs' /proc/self/status; cat /proc/self/uid_map; "
        "ls /root; mount | grep -c docker.sock; env"
    )
    waits = "sleep 90 & echo $! > /tmp/waits; wait"  # until it has been looked at
    job = submit(house, "ada", "bash", "-c", f"{looks}; {waits}; {tries}; true")
    name = wait_container(house, "ada", job)
    told = house.docker.run("docker", "inspect", name).stdout
    go_on = "until kill $(cat /tmp/waits); do sleep 0.1; done"
    house.docker.run("docker", "exec", name, "sh", "-c", go_on, timeout=60)
    job = end(house, "ada", job)
    log = read_log(house, "ada", job).decode()
    assert "REACHED" not in log, log
    assert "NoNewPrivs:\t1" in log and "run_" not in log and "TOKEN" not in log, log
    assert "run_" not in told and "TOKEN" not in told
    uid_map = re.search(r"^ +0 +([0-9]+) +[0-9]+$", log, re.MULTILINE)
    assert uid_map is not None and int(uid_map[1]) > 0, log
    house.call("bob", "POST", f"/api/jobs/{theirs['id']}/stop/")
    end(house, "bob", theirs)


@pytest.fixture
def lasting(house) -> Iterator[MachineStudio]:
    """The house, on an engine that lets containers outlive it."""
    house.docker.end()
    house.docker.start("--live-restore")
    yield house
    house.docker.end()
    house.docker.start()


def is_there(house: MachineStudio) -> bool:
    return bool(house.call("ada", "GET", "/api/machines/options/").json()["engine"]["is_available"])


def begin(house: MachineStudio, *command: str) -> dict[str, Any]:
    """Submit a script, once the studio has heard that the engine is back, and see it begin."""
    wish = {"kind": "script", "command": command, "time_limit_minutes": 30}

    def try_submit() -> dict[str, Any] | None:
        made = house.call("ada", "POST", "/api/jobs/", spec=wish, flavor="cpu-1")
        return dict(made.json()) if made.status_code == 201 else None

    job = dict(wait_for("it to be taken", try_submit))
    wait_for("it to begin", lambda: b"\n" in read_log(house, "ada", job))
    return job


def test_an_engine_that_restarts_costs_a_script_nothing(lasting):
    house = lasting
    job = begin(house, "sh", "-c", COUNT.format(n=250))
    name = find_container(house, job)
    for how in (signal.SIGTERM, signal.SIGKILL):
        house.docker.end(how)
        at = len(read_log(house, "ada", job))
        wait_for(
            "words without an engine", lambda at=at: len(read_log(house, "ada", job)) > at + 99
        )
        house.docker.start("--live-restore")
        assert find_container(house, job) == name
    job = end(house, "ada", job, timeout_s=90)
    assert job["status"] == "succeeded" and len(job["runs"]) == 1, job
    assert read_log(house, "ada", job) == b"".join(b"line %d\n" % n for n in range(250))
    assert job["run"]["log_complete"] is True
    wait_for("its container to go", lambda: not find_container(house, job))


def test_what_ended_while_the_engine_was_dead_is_told_when_it_is_back(lasting):
    """Where it cannot be told how one ended, the doubt is its owner's: it is refunded."""
    house = lasting
    well = begin(house, "sh", "-c", "echo on; sleep 5.25; echo off")
    ill = begin(house, "sh", "-c", "echo on; sleep 5.25; exit 3")
    house.docker.end(signal.SIGKILL)
    wait_for("its words", lambda: read_log(house, "ada", well) == b"on\noff\n")
    wait_for("both to have ended", lambda: not is_shell_there(), timeout_s=20)
    for job in (well, ill):
        assert look(house, "ada", job)["status"] == "running", "nobody can tell yet"
    house.docker.start("--live-restore")
    well, ill = end(house, "ada", well), end(house, "ada", ill)
    # The engine has not always kept with what status it ended.
    is_refunded = well["reason"] == "node_lost" and well["cost_mpoints"] == 0
    assert well["status"] == "succeeded" or is_refunded, well
    assert (ill["status"], ill["reason"]) == ("failed", "node_lost"), ill
    assert "went away" in ill["message"] and ill["cost_mpoints"] == 0
    for job in (well, ill):
        wait_for("its container to go", lambda job=job: not find_container(house, job))


def is_shell_there() -> bool:
    """Say whether a container's sleep is there still."""
    return not subprocess.run(["pgrep", "-x", "-f", "sleep 5.25"], capture_output=True).returncode


def test_an_engine_that_takes_a_script_along_is_the_nodes_fault(house):
    job = begin(house, "sh", "-c", "echo on; sleep 600")
    house.docker.end()
    house.docker.start()
    job = end(house, "ada", job)
    assert (job["status"], job["reason"]) == ("failed", "node_lost"), job
    assert read_log(house, "ada", job) == b"on\n" and job["cost_mpoints"] == 0
    wait_for("its container to go", lambda: not find_container(house, job))


def test_an_engine_that_hangs_keeps_no_word_of_a_script_waiting(house):
    job = begin(house, "sh", "-c", COUNT.format(n=100))
    assert house.docker.process is not None
    house.docker.process.send_signal(signal.SIGSTOP)
    try:
        wait_for("all that it says", lambda: b"line 99\n" in read_log(house, "ada", job))
    finally:
        house.docker.process.send_signal(signal.SIGCONT)
    job = end(house, "ada", job)
    assert job["status"] == "succeeded", job
    assert read_log(house, "ada", job) == b"".join(b"line %d\n" % n for n in range(100))


def test_its_output_has_an_end_and_what_fits_is_pushed(house):
    """The studio of the tests gives it 1 GiB."""
    wait_for("the engine to be heard", lambda: is_there(house))
    flood = "head -c 1200M /dev/zero > /output/flood; ls -l /output; rm /output/flood; "
    code = flood + "echo kept > /output/kept; df -B1M /output | tail -1"
    job = end(house, "ada", submit(house, "ada", "sh", "-c", code, output="flood"), timeout_s=120)
    log = read_log(house, "ada", job).decode()
    assert job["status"] == "succeeded" and "No space left" in log, (job, log)
    assert house.call("ada", "GET", "/ada/flood/resolve/main/kept").text == "kept\n"
    folder = house.studio.data_dir / "node" / "runs" / job["run"]["id"] / "box"
    shown = f"/run/athanor/scripts/{job['run']['id']}"
    wait_for("it to be put away", lambda: shown not in Path("/proc/mounts").read_text())
    assert (folder / "disk" / "output").stat().st_size == 2**30
