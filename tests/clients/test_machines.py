"""Dev machines from a terminal, against a running studio whose node a test speaks for."""

import json
import os
import subprocess
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from studio.machines.machine_tokens import make_machine_token
from studio.machines.models import Machine, PublishedPort, Status
from studio.machines.placing import place_machines
from studio.points.services import grant_points
from tests.studio.machines.conftest import make_running, tell
from workers.machines.orders import MachinePhase


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
    code, out, err = signed_in.end(process)
    assert (code, err) == (0, "")
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


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes_the_names_of_machines(signed_in, rich, node, shell):
    make_running(rich, node)
    line = "athanor machine stop b"
    asked = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": "3"},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    # Named after the program, which here is Python's word for a module.
    words = {"_PYTHON _M CLIENTS.COMMAND_COMPLETE": f"complete_{shell}"}
    assert "box" in signed_in(**words, **asked)
    assert "cpu-1" in signed_in(
        **words,
        **{k: v.replace(line, "athanor machine create x --flavor c") for k, v in asked.items()}
        | ({"COMP_CWORD": "5"} if shell == "bash" else {}),
    )
