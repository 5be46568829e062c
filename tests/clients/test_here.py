"""What the `athanor` command does without a studio: runs of this home, and its GPUs."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clients.gpu import describe_devices


def await_that(claim) -> None:
    deadline = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def status_of(athanor, name: str) -> str:
    (run,) = [run for run in json.loads(athanor("runs", "--json")) if run["name"] == name]
    return run["status"]


def test_a_run_goes_on_by_itself_and_its_log_and_end_are_kept(lone):
    lone("run", "--name", "first", "--", "sh", "-c", "echo begun; echo bad >&2; exit 3")
    await_that(lambda: status_of(lone, "first") == "ended")
    assert lone("logs", "first") == "begun\nbad\n"
    assert "ended 3" in lone("runs")
    assert "already" in lone("run", "--name", "first", "--", "true", fails=True)


def test_a_run_without_a_name_has_its_command_s(lone):
    lone("run", "true")
    lone("run", "true")
    assert {run["name"] for run in json.loads(lone("runs", "--json"))} == {"true", "true-2"}


def test_a_run_is_in_no_session_of_the_terminal_s(lone):
    run = json.loads(lone("run", "--json", "--", "sleep", "60"))
    assert os.getsid(run["pid"]) == run["pid"] != os.getsid(0)
    os.kill(run["pid"], signal.SIGHUP)
    assert status_of(lone, "sleep") == "running"
    assert "ended 143" in lone("end", "sleep")


def test_the_options_of_a_command_are_its_own(lone):
    lone("run", "--name", "n", "sh", "-c", "echo $0 $1", "--name", "--json")
    await_that(lambda: status_of(lone, "n") == "ended")
    assert lone("logs", "n") == "--name --json\n"


def test_a_log_is_followed_to_its_end(lone, tmp_path):
    go = tmp_path / "go"
    script = f"echo one; while [ ! -e {go} ]; do sleep 0.05; done; echo two"
    lone("run", "--name", "slow", "--", "sh", "-c", script)
    follower = lone.begin("logs", "slow", "-f")
    assert follower.stdout.readline() == "one\n"
    go.touch()
    assert lone.end(follower)[:2] == (0, "two\n")


@pytest.mark.slow
def test_one_that_will_not_end_is_ended(lone):
    script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    lone("run", "--name", "deaf", "--", "sh", "-c", script)
    await_that(lambda: lone("logs", "deaf") == "ready\n")
    assert "ended 137" in lone("end", "deaf")
    assert subprocess.run(["pgrep", "-f", "trap '' TERM; echo read[y]"]).returncode == 1


def test_runs_of_other_machines_and_of_an_earlier_start_are_told_apart(lone):
    lone("run", "--name", "here", "--", "sleep", "60", ATHANOR_MACHINE="one")
    assert status_of(lone, "here") == "elsewhere"
    assert "end it there" in lone("end", "here", ATHANOR_MACHINE="two", fails=True)
    kept = lone.home / ".athanor" / "runs" / "here" / "run.json"
    run = json.loads(kept.read_text())
    os.killpg(run["pid"], signal.SIGKILL)
    kept.write_text(json.dumps(run | {"pid": os.getpid()}))  # the number is another's by now
    assert "lost" in lone("runs", ATHANOR_MACHINE="one")
    assert "lost" in lone("end", "here", ATHANOR_MACHINE="one")


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--", "no-such-command"),
        ("run", "--name", "../x", "--", "true"),
        ("logs", "none"),
        ("logs", ".."),
        ("end", "none"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(lone, words):
    assert len(lone(*words, fails=True).strip().splitlines()) == 1
    assert not list(Path(lone.home).rglob("run.json"))


def seen(index: int, uuid: str) -> dict:
    numbers = {"memory_total_mib": 81920, "memory_used_mib": 100, "busy_percent": 5}
    return {"index": index, "uuid": uuid, "name": "H200"} | numbers


def test_the_gpus_are_those_that_were_given():
    told = describe_devices(
        {"ATHANOR_DEVICES": "GPU-a,GPU-gone", "ATHANOR_DEVICE_PERCENT": "30"}, [seen(0, "GPU-a")]
    )
    assert [device["uuid"] for device in told["devices"]] == ["GPU-a"]
    assert (told["missing"], told["device_percent"]) == (["GPU-gone"], 30)
    mocks = json.dumps([{"uuid": "MOCK-1", "name": "H100"}, "MOCK-2"])
    told = describe_devices({"ATHANOR_DEVICES": mocks}, [])
    assert [(device["name"], device["is_mock"]) for device in told["devices"]] == [
        ("H100", True),
        ("", True),
    ]


@pytest.mark.parametrize(
    ("visible", "left"),
    [
        ("", []),
        ("1", ["GPU-b"]),
        ("GPU-b,0", ["GPU-b", "GPU-a"]),
        ("0,9,1", ["GPU-a"]),
        ("-1", []),
    ],
)
def test_cuda_visible_devices_leaves_fewer(visible, left):
    told = describe_devices({"CUDA_VISIBLE_DEVICES": visible}, [seen(0, "GPU-a"), seen(1, "GPU-b")])
    assert [device["uuid"] for device in told["devices"]] == left


def test_gpus_are_shown_with_what_a_share_is(lone, tmp_path):
    driver = tmp_path / "nvidia-smi"
    line = "0, GPU-a, NVIDIA H200, 143771, 12, 7"
    driver.write_text(f'#!/bin/sh\ncase "$1" in -L) ;; *) echo "{line}" ;; esac\n')
    driver.chmod(0o755)
    with_driver = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    shared = with_driver | {"ATHANOR_DEVICES": "GPU-a", "ATHANOR_DEVICE_PERCENT": "50"}
    said = lone("gpu", **shared)
    assert "NVIDIA H200" in said and "71,885 MiB" in said and "cooperative" in said
    assert json.loads(lone("gpu", "--json", **shared))["device_percent"] == 50
    driver.write_text("#!/bin/sh\necho 'no driver' >&2\nexit 9\n")
    assert "no GPU" in lone("gpu", **with_driver)
    said = lone("gpu", **with_driver, ATHANOR_DEVICES="MOCK-1")
    assert re.search(r"MOCK-1\s+mock", said) and "in name only" in said


def test_what_holds_a_share_to_its_part_is_told(tmp_path):
    share = {"ATHANOR_DEVICES": "GPU-a", "ATHANOR_DEVICE_PERCENT": "30"}
    device = [seen(0, "GPU-a")]
    assert describe_devices({"ATHANOR_DEVICES": "GPU-a"}, device)["held_by"] == "whole"
    assert describe_devices(share, device)["held_by"] == "nothing"
    told = describe_devices({"ATHANOR_DEVICES": "MIG-1"}, device, ["MIG-1"])
    assert (told["held_by"], told["missing"]) == ("mig", [])
    limited = share | {"CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=40G"}
    limited["CUDA_MPS_PIPE_DIRECTORY"] = str(tmp_path)
    assert describe_devices(limited, device)["held_by"] == "nothing"  # no daemon there
    (tmp_path / "control").touch()
    assert describe_devices(limited, device)["held_by"] == "mps"


def test_the_driver_s_parts_are_read(lone, tmp_path):
    driver = tmp_path / "nvidia-smi"
    parts = "GPU 0: H200 (UUID: GPU-a)\n  MIG 1g.18gb Device 0: (UUID: MIG-0a1b-22)"
    driver.write_text(
        f"#!/bin/sh\ncase $1 in -L) echo '{parts}' ;; *) echo 0, GPU-a, H, 9, 1, 0; esac\n"
    )
    driver.chmod(0o755)
    with_driver = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ATHANOR_DEVICES": "MIG-0a1b-22"}
    assert "cut by MIG" in lone("gpu", **with_driver)


FAKE_TORCH = """
__version__ = "9.9"
uint8 = None
class OutOfMemoryError(Exception): pass
class Ones:
    def __matmul__(self, other): return self
    def sum(self): return self
    def item(self): return 64 ** 3
def ones(*size, device): return Ones()
def empty(size, dtype, device):
    if size > 0.3 * 2**30: raise OutOfMemoryError
class cuda:
    device_count = staticmethod(lambda: 1)
    mem_get_info = staticmethod(lambda index: (2**29, 2**30))
    get_device_name = staticmethod(lambda index: "Fake")
    get_per_process_memory_fraction = staticmethod(lambda index: 0.3)
"""


def test_a_probe_says_what_pytorch_finds(lone, tmp_path):
    def probe(torch: str | None) -> str:
        folder = tmp_path / ("with" if torch else "without")
        folder.mkdir()
        (folder / "python").write_text(
            f'#!/bin/sh\nPYTHONPATH={folder} exec {sys.executable} -S "$@"\n'
        )
        (folder / "python").chmod(0o755)
        if torch:
            (folder / "torch.py").write_text(torch)
        return lone("gpu", "--probe", PATH=f"{folder}:/usr/bin:/bin")

    said = probe(FAKE_TORCH)
    assert "it computes, 512 of 1,024 MiB are free, PyTorch keeps to 30%, as it has shown" in said
    assert "has no PyTorch" in probe(None)
    said = lone("gpu", "--probe", "--json", PATH="/none")
    assert json.loads(said)["probe"]["fault"] == "There is no python here."
