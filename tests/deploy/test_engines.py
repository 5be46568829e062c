"""Finetunes whose engine runs in a container: the same run for its owner, and its faults."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.events import ArtifactEvent, Metric
from tests.deploy.engine import DockerEngine, why_not
from tests.deploy.engine_image import build_engine_image
from tests.deploy.machines import MachineStudio, run_machine_studio
from tests.faults.owner import FINAL, Launched, Owner, check_log, import_tiny_model, make_owner
from tests.live import wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[MachineStudio]:
    if reason := why_not():
        pytest.fail(reason)

    def prepare(docker: DockerEngine) -> dict[str, str]:
        image = build_engine_image(docker)
        docker.end()
        docker.start("--live-restore")
        return {"ATHANOR_RUNTIME": "docker", "ATHANOR_ENGINE_IMAGE": image}

    with run_machine_studio(tmp_path_factory.mktemp("studio"), prepare) as house:
        import_tiny_model(house.studio, tmp_path_factory.mktemp("tiny"))
        wait_for("the node to look at its engine", lambda: look_at_node(house)["runtime"])
        yield house


@pytest.fixture(scope="module")
def alice(house) -> Owner:
    return make_owner(house.studio, "alice")


@pytest.fixture(autouse=True)
def _end_runs(alice) -> Iterator[None]:
    """Give the node's cores back, also after a test that failed."""
    yield
    for job in alice.http.get("/api/jobs/").json()["results"]:
        if job["status"] not in FINAL:
            Launched(alice, job["id"]).stop()
            Launched(alice, job["id"]).wait_final()


def look_at_node(house: MachineStudio) -> dict[str, Any]:
    with house.studio.client("root", role="administrator") as client:
        return dict(client.get("/api/nodes/").json()[0])


def find_container(house: MachineStudio, launched: Launched, *options: str) -> str:
    listed = house.docker.run(
        *("docker", "ps", "--quiet", "--no-trunc", *options),
        *("--filter", f"label=athanor.run={launched.run_id}"),
    )
    return listed.stdout.strip()


def wait_training(house: MachineStudio, launched: Launched) -> str:
    """Wait until it trains, and return its container."""
    launched.wait_training()
    return find_container(house, launched)


def check_nothing_left(house: MachineStudio, launched: Launched) -> None:
    run = launched.run_dir()
    wait_for("its container to go", lambda: not find_container(house, launched, "--all"))
    wait_for(
        "it to be put away", lambda: not (run.path.parents[1] / "active" / run.run_id).exists()
    )
    assert not Path("/run/athanor/scripts", run.run_id).exists()
    assert str(run.path) not in Path("/proc/self/mountinfo").read_text()


def list_steps(launched: Launched) -> list[int]:
    events = launched.read_events()
    return [e.step for e in events if isinstance(e, Metric) and "loss" in e.values]


def test_a_finetune_waits_for_the_engine_and_is_then_one_as_ever(house, alice):
    house.docker.end()
    told = wait_for(
        "the node to say so", lambda: look_at_node(house)["runtime_problem"], timeout_s=60
    )
    assert "No Docker engine answers" in told
    launched = alice.launch(max_steps=8, output="shut-in")
    waiting = launched.wait("the word", lambda job: job["run"]["message"] or job["message"])
    assert waiting["status"] == "queued", waiting
    house.docker.start("--live-restore")
    job = launched.wait_final()
    assert (job["status"], job["reason"]) == ("succeeded", "completed"), launched.download_log()
    check_log(launched)
    assert b"Engine process" in launched.download_log()
    assert list_steps(launched) == list(range(1, 9))
    with house.studio.client("alice") as client:
        card = client.get("/alice/shut-in/resolve/main/athanor.json").json()
    shown = ("docker", "image", "inspect", "--format", "{{.Id}}", "athanor-test-engine")
    assert card["made_by"]["image"] == house.docker.run(*shown).stdout.strip()
    assert card["base"]["repo"] == "athanor/tiny" and len(card["base"]["revision"]) == 40
    made = [
        (e.role, e.path, e.repo) for e in launched.read_events() if isinstance(e, ArtifactEvent)
    ]
    assert made == [
        ("report", "data/contract.json", None),
        ("adapter", "out", None),
        ("adapter", None, "alice/shut-in"),
    ]
    check_nothing_left(house, launched)


LOOKS = """
import os, pathlib
print(os.getuid(), sorted(os.listdir("/sys/class/net")))
for line in open("/proc/self/status"):
    if line.startswith(("CapEff", "CapBnd", "NoNewPrivs")): print(line.strip())
for path in pathlib.Path("/run/athanor").rglob("*"):
    if path.is_file() and b"TOKEN" in path.read_bytes(): print("SECRET IN", path)
for place in ("/x", "/opt/python/x", "/run/athanor/run/x", "/run/athanor/read/0/x"):
    try: open(place, "w"); print("WROTE", place)
    except OSError: pass
print(open("/proc/self/uid_map").read().split()[:2])
"""


def check_walls(house: MachineStudio, launched: Launched, name: str) -> None:
    """It has no network, no right, no secret, and nothing to write but what it makes."""
    told = json.loads(house.docker.run("docker", "inspect", name).stdout)[0]
    order, host = launched.run_dir().read_order(), told["HostConfig"]
    assert order is not None and order.run_token not in json.dumps(told)
    assert host["NetworkMode"] == "none" and host["ReadonlyRootfs"]
    assert host["Memory"] == host["MemorySwap"] == order.memory_bytes
    assert host["NanoCpus"] == order.num_threads * 10**9 and host["PidsLimit"] > 0
    written = {each["Destination"] for each in told["Mounts"] if each["RW"]}
    made = {f"/run/athanor/run/{name}" for name in ("checkpoints", "data", "out", "tensorboard")}
    assert written == {"/run/athanor/log", "/run/athanor/told"} | made
    looks = LOOKS.replace("TOKEN", order.run_token)
    inside = house.docker.run("docker", "exec", name, "/opt/python/bin/python", "-c", looks).stdout
    assert "1000 ['lo']" in inside and "WROTE" not in inside and "SECRET" not in inside, inside
    assert "CapEff:\t0000000000000000" in inside and "NoNewPrivs:\t1" in inside, inside
    assert "['0', '0']" not in inside, inside


def test_it_is_shut_in_and_a_stop_keeps_a_checkpoint_that_a_retry_goes_on_from(house, alice):
    launched = alice.launch(output="resumed")
    check_walls(house, launched, wait_training(house, launched))
    launched.stop()
    job = launched.wait_final(timeout_s=20)
    assert (job["status"], job["reason"]) == ("stopped", "stopped_by_owner")
    check_log(launched)
    first = launched.run_dir()
    kept = first.find_last_checkpoint()
    assert kept is not None and kept.name == f"step-{list_steps(launched)[-1]}"
    check_nothing_left(house, launched)
    retried = alice.http.post(f"/api/jobs/{launched.job_id}/retry/", json={"resume": True})
    assert retried.is_success, retried.text
    launched.wait("the next run", lambda job: job["run"]["id"] != first.run_id)
    wait_training(house, launched)
    assert list_steps(launched)[0] == int(kept.name.removeprefix("step-")) + 1
    os.kill(launched.processes().recorder.pid, signal.SIGKILL)
    job = launched.wait_final(timeout_s=60)
    assert (job["status"], job["reason"]) == ("failed", "node_lost"), job
    check_nothing_left(house, launched)


def test_a_memory_limit_is_told_as_such(house, alice):
    launched = alice.launch()
    name = wait_training(house, launched)
    house.docker.run("docker", "update", "--memory", "1g", "--memory-swap", "1g", name)
    for pid in house.docker.run("docker", "top", name, "-o", "pid").stdout.split()[1:]:
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")  # it, and not what eats below
    subprocess.run(
        ["docker", "exec", name, "/opt/python/bin/python", "-c", "x = bytearray(b'x') * 2**30"],
        env=house.docker.env, capture_output=True, check=False,
    )  # fmt: skip
    job = launched.wait_final(timeout_s=60)
    assert job["reason"] == "out_of_memory", job
    check_nothing_left(house, launched)


def test_a_run_outlives_all_but_its_container(house, alice):
    launched = alice.launch()
    name = wait_training(house, launched)
    for part in ("supervisor", "reporter", "worker", "machines", "web"):
        pid = house.studio.kill(part)
        house.studio.wait_restarted(part, pid)
    for how in (signal.SIGTERM, signal.SIGKILL):
        house.docker.end(how)
        launched.wait_fresh_events(timeout_s=60)  # its words need no engine
        house.docker.start("--live-restore")
        launched.wait_fresh_events(timeout_s=20)
        assert find_container(house, launched) == name
    house.docker.run("docker", "rm", "--force", name)
    job = launched.wait_final(timeout_s=30)
    assert (job["status"], job["reason"]) == ("failed", "node_lost"), job
    assert len(job["runs"]) == 1
    check_log(launched)
    steps = list_steps(launched)
    assert steps == list(range(1, len(steps) + 1))
    launched.wait("the refund", lambda job: job["cost_mpoints"] == 0 == job["held_mpoints"])
    check_nothing_left(house, launched)
