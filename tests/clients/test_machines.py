"""Dev machines from a terminal, against a running studio whose node a test speaks for."""

import json
import os
import signal
import subprocess
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from studio.machines.idling import judge_machines
from studio.machines.machine_tokens import make_machine_token
from studio.machines.models import Activity, Machine, PublishedPort, Saving, Status
from studio.machines.moments import keep_live
from studio.machines.placing import place_machines
from studio.machines.reports import take_report
from studio.points.services import grant_points
from tests.studio.machines.conftest import make_running, tell
from workers.machines.measures import DeviceUsage, MachineSigns, MachineUsage
from workers.machines.orders import MachinePhase, MachineReport, SavedState


@pytest.fixture
def signed_in(athanor, rich, node):
    athanor.sign_in()
    return athanor


@pytest.fixture
def own_ssh(tmp_path):
    """A program named ssh that says how it was called, first in the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ssh").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 7\n')
    (folder / "ssh").chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def await_machine(process: subprocess.Popen[str]) -> Machine:
    deadline = time.monotonic() + 30
    while (machine := Machine.objects.first()) is None:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    return machine


def test_what_may_be_chosen_is_shown(signed_in):
    assert "base" in signed_in("machine", "images")
    (offered,) = json.loads(signed_in("machine", "images", "--json"))
    assert offered["tools"] == {"vscode": 8080, "lab": 8888}
    assert "cpu-1" in signed_in("machine", "flavors")
    assert "cpu-1" in {
        each["name"] for each in json.loads(signed_in("machine", "flavors", "--json"))
    }


def test_a_machine_is_made_and_waited_for(signed_in, node):
    words = ("machine", "create", "box", "--flavor", "cpu-1", "--hours", "1.5", "--wait")
    process = signed_in.begin(*words)
    machine = await_machine(process)
    place_machines()
    tell(machine, node, MachinePhase.RUNNING)
    tell(machine, node, MachinePhase.RUNNING, ready_ports=(8080,))
    code, out, err = signed_in.end(process)
    assert (code, err) == (0, "")
    assert "s  node found" in out and "s  started" in out and "s  vscode answers" in out
    assert "box is running." in out and "machine open box vscode" in out
    (listed,) = json.loads(signed_in("machine", "list", "--json"))
    assert (listed["name"], listed["status"]) == ("box", "running")
    assert listed["lease"]["granted_s"] == 5400
    assert "box" in signed_in("machine", "list") and "1 h 29 min" in signed_in("machine", "list")


def test_waiting_for_one_that_cannot_start_ends_with_the_reason(signed_in, node):
    words = ("machine", "create", "box", "--image", "base", "--flavor", "cpu-1", "--wait")
    process = signed_in.begin(*words, "--hours", "1")
    machine = await_machine(process)
    place_machines()
    signed_in("machine", "stop", "box")
    tell(machine, node, MachinePhase.STOPPED)
    code, _, err = signed_in.end(process)
    assert code == 1 and "box is stopped: stopped by its owner." in err


def test_a_machine_is_extended_restarted_stopped_and_deleted(signed_in, rich, node):
    machine = make_running(rich, node)
    assert "left" in signed_in("machine", "extend", "box", "--hours", "2")
    machine.refresh_from_db()
    assert machine.lease.granted_s == 3 * 3600
    assert json.loads(signed_in("machine", "restart", "box", "--json"))["status"] == "stopping"
    assert json.loads(signed_in("machine", "stop", machine.key, "--json"))["key"] == machine.key
    tell(machine, node, MachinePhase.STOPPED)
    assert "is queued" in signed_in("machine", "start", "box", "--hours", "1")
    signed_in("machine", "delete", "box", given="n\n", fails=True)
    assert Machine.objects.get().status != Status.DELETING
    assert "its home is kept" in signed_in("machine", "delete", "box", "--yes")
    assert Machine.objects.get().status in {Status.DELETING, Status.DELETED}


def test_a_machine_is_renamed_changed_and_reset(signed_in, rich, node):
    machine = make_running(rich, node)
    assert "tub now" in signed_in("machine", "rename", "box", "tub")
    signed_in("machine", "change", "tub", "--flavor", "cpu-2", "--yes", fails=True)  # it runs
    signed_in("machine", "stop", "tub")
    tell(machine, node, MachinePhase.STOPPED)
    signed_in("machine", "change", "tub", "--yes", fails=True)
    signed_in("machine", "change", "tub", "--flavor", "cpu-2", "--yes")
    signed_in("machine", "reset", "tub", given="n\n", fails=True)
    signed_in("machine", "reset", "tub", "--yes")
    machine.refresh_from_db()
    assert (machine.name, machine.flavor.name, machine.life) == ("tub", "cpu-2", 3)


def test_a_machine_is_saved_cloned_and_its_image_deleted(signed_in, rich, node):
    machine = make_running(rich, node)
    process = signed_in.begin("machine", "save", "box", "mine", "--wait")
    while not (saving := Saving.objects.first()):
        assert process.poll() is None
        time.sleep(0.05)
    saved = SavedState(key=saving.key, image="sha256:" + "b" * 64, size_bytes=5 * 2**20)
    take_report(node=node, report=MachineReport(engine="26", machines=[], saved=(saved,)))
    code, out, err = signed_in.end(process)
    assert (code, err) == (0, "") and "box is saved as mine." in out
    (listed,) = json.loads(signed_in("machine", "saved", "--json"))
    assert (listed["name"], listed["status"], listed["machine"]) == ("mine", "ready", "box")
    assert "5.0 MiB" in signed_in("machine", "saved")
    signed_in("machine", "delete-image", "mine", given="n\n", fails=True)
    signed_in("machine", "delete-image", "mine", "--yes")
    signed_in("machine", "delete-image", "mine", "--yes", fails=True)
    assert "twin is queued" in signed_in("machine", "clone", "box", "twin")
    signed_in("machine", "clone", "box", "twin", fails=True)
    assert Machine.objects.count() == 2 and machine.savings.count() == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("stop", "none"), 1),
        (("stop", "../points"), 1),
        (("stop", "-x"), 2),
        (("start", "none", "--hours", "many"), 2),
        (("create", "Box", "--flavor", "cpu-1", "--hours", "1"), 1),
        (("create", "box", "--flavor", "none", "--hours", "1"), 1),
        (("create", "box", "--flavor", "cpu-1", "--hours", "100000"), 1),
        (("create", "box"), 2),
        (("ssh", "none"), 1),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(signed_in, words, code):
    said = signed_in("machine", *words, fails=True, code=code)
    assert code == 2 or len(said.strip().splitlines()) == 1


def test_a_stranger_s_machine_is_no_machine(signed_in, bob, node, image):
    grant_points(by=None, to=bob, mpoints=1_000_000, note="", key="bob")
    machine = make_running(bob, node)
    for words in (("stop", machine.key), ("open", machine.key), ("ssh", machine.key)):
        signed_in("machine", *words, fails=True)
    signed_in("share", "8000", "--machine", machine.key, fails=True)
    assert json.loads(signed_in("machine", "list", "--json")) == []


def test_ssh_is_called_with_the_studio_s_door_and_key(signed_in, rich, node, own_ssh):
    make_running(rich, node)
    words = ("machine", "ssh", "box", "--", "python", "-c", "print('a b')")
    code, out, _ = signed_in.end(signed_in.begin(*words, **own_ssh))
    said = out.splitlines()
    assert code == 7
    assert said[0] == "-p" and said[-3] == "--" and said[-2].startswith("box@")
    assert said[-1] == """python -c 'print('"'"'a b'"'"')'"""
    known = signed_in.home / ".config" / "athanor" / "known_hosts"
    assert "ssh-ed25519" in known.read_text() and f'UserKnownHostsFile="{known}"' in said
    _, out, _ = signed_in.end(signed_in.begin("machine", "ssh", "box", "cd /tmp && ls", **own_ssh))
    assert out.splitlines()[-1] == "cd /tmp && ls"


def test_ssh_to_a_stopped_machine_says_so(signed_in, rich, node, own_ssh):
    machine = make_running(rich, node)
    signed_in("machine", "stop", "box")
    tell(machine, node, MachinePhase.STOPPED)
    said = signed_in("machine", "ssh", "box", fails=True, **own_ssh)
    assert "athanor machine start box" in said


def test_a_tool_is_opened_by_its_name_or_its_port(signed_in, rich, node):
    machine = make_running(rich, node)
    for tool, port in (("", 8080), ("lab", 8888), ("3000", 3000)):
        url = signed_in("machine", "open", "box", *filter(None, [tool])).strip()
        assert urlsplit(url).hostname.split(".")[0] == f"{port}-{machine.key}"
        assert "pass" in parse_qs(urlsplit(url).query)
    assert "vscode, lab" in signed_in("machine", "open", "box", "none", fails=True)


def test_inside_a_machine_one_is_signed_in_and_shares_its_ports(
    athanor,
    rich,
    node,
    tmp_path,
):
    machine = make_running(rich, node)
    token = tmp_path / "token"
    token.write_text(make_machine_token(machine))
    inside = {
        "ATHANOR_URL": athanor.studio,
        "ATHANOR_TOKEN_FILE": str(token),
        "ATHANOR_MACHINE": machine.key,
    }
    assert athanor("whoami", **inside).split()[0] == "alice"
    said = athanor("share", "8000", "--with", "public", "--until", "1h30m", **inside)
    assert f"8000-{machine.key}." in said and "open to public until" in said
    port = PublishedPort.objects.get()
    assert 5300 < (port.until - port.created_at).total_seconds() < 5500
    assert json.loads(athanor("share", "8000", "--json", **inside))["audience"] == "class"
    assert "yours alone" in athanor("unshare", "8000", **inside)
    assert not PublishedPort.objects.exists()
    athanor("share", "8000", "--until", "soon", fails=True, code=2, **inside)
    athanor("share", "0", fails=True, code=2, **inside)
    athanor("key", "generate", fails=True, **inside)
    assert not (athanor.home / ".ssh" / "id_athanor").exists()
    assert "--machine NAME" in athanor("share", "8000", fails=True)


def test_keys_are_generated_added_listed_and_deleted(athanor, tmp_path):
    athanor.sign_in()
    made = json.loads(athanor("key", "generate", "laptop", "--json"))
    kept = athanor.home / ".ssh" / "id_athanor"
    assert made["file"] == str(kept) and "private_key" not in made
    assert kept.stat().st_mode & 0o777 == 0o600
    public = subprocess.check_output(["ssh-keygen", "-y", "-f", str(kept)], text=True)
    assert made["fingerprint"] in athanor("key", "list")
    assert "cannot be made" in athanor("key", "generate", "again", fails=True)
    assert "keep it to yourself" in athanor("key", "add", str(kept), fails=True)
    athanor("key", "delete", "laptop")
    file = tmp_path / "desk.pub"
    file.write_text(public)
    assert made["fingerprint"] in athanor("key", "add", str(file))
    (listed,) = json.loads(athanor("key", "list", "--json"))
    assert listed["name"] == "desk"
    assert "key list" in athanor("key", "delete", "none", fails=True)
    athanor("key", "delete", made["fingerprint"])
    athanor("key", "add", "-", "--name", "given", given=public)
    athanor("key", "add", "-", given="no key", fails=True)
    athanor("key", "add", str(tmp_path / "none"), fails=True)


def tell_use(machine: Machine) -> None:
    devices = (DeviceUsage(uuid="MOCK-0", is_mock=True),)
    usage = MachineUsage(
        taken_at=time.time(), cores=0.75, cores_limit=1, memory_bytes=2**29,
        memory_limit_bytes=2**31, layer_bytes=5 * 2**20, devices=devices,
        signs=MachineSigns(num_runs=1),
    )  # fmt: skip
    keep_live({machine.key: usage})


def test_a_machine_tells_what_it_uses_from_outside_and_from_inside(signed_in, rich, node, tmp_path):
    machine = make_running(rich, node)
    said = signed_in("machine", "usage", "box")
    assert "its node does not tell" in said and "- of 1 core" in said
    tell_use(machine)
    judge_machines()  # a first look, and one that knows that there was one
    judge_machines()
    said = signed_in("usage", "box")
    assert "0.75 of 1 core" in said and "512.0 MiB of 4.00 GiB" in said
    assert "nothing is measured" in said and "5.0 MiB" in said
    assert "active:" in said
    token = tmp_path / "token"
    token.write_text(make_machine_token(machine))
    inside = {
        "ATHANOR_URL": signed_in.studio,
        "ATHANOR_TOKEN_FILE": str(token),
        "ATHANOR_MACHINE": machine.key,
    }
    told = json.loads(signed_in("usage", "--json", **inside))
    assert told["live"]["cores"] == 0.75 and told["name"] == "box"
    assert "athanor machine list" in signed_in("usage", fails=True)
    signed_in("usage", "none", fails=True)


def test_usage_is_watched_until_one_has_seen_enough(signed_in, rich, node):
    tell_use(make_running(rich, node))
    process = signed_in.begin("usage", "box", "--watch")
    deadline = time.monotonic() + 40
    seen = ""
    while "0.75 of 1 core" not in seen:
        assert process.poll() is None and time.monotonic() < deadline, seen
        seen += process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)


def test_an_idle_machine_is_kept_from_the_terminal(signed_in, rich, node):
    machine = make_running(rich, node)
    assert "you keep it" in signed_in("machine", "keep", "box", "--hours", "0.5")
    assert Activity.objects.get(machine=machine).kept_until is not None
    signed_in("machine", "keep", "box", "--hours", "25", fails=True, code=2)
    signed_in("machine", "keep", "box", "--hours", "0")
    assert Activity.objects.get(machine=machine).kept_until is None
