"""What goes on in a dev machine, without one: its entry program, its shells, its own sshd."""

import importlib.util
import json
import os
import pty
import select
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

from tests.plain_shells import with_plain_shells

IMAGE = Path(__file__).resolve().parents[2] / "workers" / "images" / "machine"


def load_program():
    spec = importlib.util.spec_from_file_location("athanor_machine", IMAGE / "athanor_machine.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["athanor_machine"] = module  # its dataclasses look for it
    spec.loader.exec_module(module)
    return module


program = load_program()


def await_that(claim) -> None:
    deadline = time.monotonic() + 20
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


@pytest.fixture
def places(tmp_path):
    for name in ("run", "pts", "ssh"):
        (tmp_path / name).mkdir(mode=0o700)
    return program.Places(
        run=tmp_path / "run",
        logs=tmp_path / "log",
        ssh=tmp_path / "ssh",
        environment=tmp_path / "environment",
        terminals=tmp_path / "pts",
        sshd_run=tmp_path / "sshd",
        lab_settings=tmp_path / "lab" / "settings" / "overrides.d" / "athanor.json",
    )


@pytest.fixture
def started(places, monkeypatch):
    """`started(tool, ...)` runs a machine with these tools until the test ends."""
    monkeypatch.setattr(program, "_PAUSES_S", (0.1, 0.2))
    machines = []

    def start(*tools, **environ):
        given = {"PATH": os.environ["PATH"], "HOME": "/tmp"} | environ
        machine = program.Machine(places, tools, given)
        thread = threading.Thread(target=machine.run)
        thread.start()
        machines.append((machine, thread))
        return machine

    yield start
    for machine, thread in machines:
        begun = time.monotonic()
        machine.stop()
        thread.join(10)
        assert not thread.is_alive() and time.monotonic() - begun < 8


def make_tool(name: str, script: str, *, port: int = 1, **options):
    return program.Tool(name, port, ("/bin/sh", "-c", script), **options)


def test_vs_code_asks_nobody_whether_they_trust_their_own_home():
    settings = yaml.safe_load((IMAGE / "code-server.yaml").read_text())
    assert settings["disable-workspace-trust"] is True
    copied = (IMAGE / "Dockerfile").read_text()
    assert "workers/images/machine/code-server.yaml /own/etc/athanor/" in copied
    (tool,) = [each for each in program.TOOLS if each.name == "code-server"]
    where = tool.command[tool.command.index("--config") + 1]
    assert where == "/etc/athanor/code-server.yaml"


def test_a_tool_that_falls_is_started_again_and_one_that_is_not_there_is_not(
    started, places, tmp_path
):
    started(
        make_tool("weak", f"echo $OPENAI_API_KEY >> {tmp_path}/starts; exit 3"),
        program.Tool("none", 2, ("/opt/none/bin/none",)),
        OPENAI_API_KEY="given",
    )
    starts = tmp_path / "starts"
    await_that(lambda: starts.exists() and starts.read_text().count("given") >= 3)
    log = (places.logs / "weak.log").read_text()
    assert "ended with 3" in log and not (places.logs / "none.log").exists()


def test_all_end_at_once_even_what_does_not_want_to(places, tmp_path):
    ready = tmp_path / "ready"
    deaf = make_tool("deaf", f"trap '' TERM; touch {ready}; while :; do sleep 1; done")
    machine = program.Machine(places, [deaf], {"PATH": os.environ["PATH"], "HOME": "/"})
    thread = threading.Thread(target=machine.run)
    thread.start()
    await_that(ready.exists)
    begun = time.monotonic()
    machine.stop()
    thread.join(10)
    assert time.monotonic() - begun < 8
    assert str(ready) not in subprocess.run(["ps", "-ef"], capture_output=True, text=True).stdout


def test_a_signal_ends_it_as_a_program(places, tmp_path):
    script = f"""
        import signal, sys
        sys.path.insert(0, {str(IMAGE)!r})
        import athanor_machine as program
        from pathlib import Path
        root = Path({str(tmp_path)!r})
        names = ["run", "log", "ssh", "environment", "pts", "sshd"]
        tool = program.Tool("t", 1, ("/bin/sh", "-c", "echo up; exec sleep 100"))
        environ = {{"PATH": "/bin:/usr/bin", "HOME": "/"}}
        machine = program.Machine(program.Places(*(root / n for n in names)), [tool], environ)
        signal.signal(signal.SIGTERM, lambda *_: machine.stop())
        machine.run()
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    log = tmp_path / "log" / "t.log"
    await_that(lambda: log.exists() and "up\n" in log.read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(8) == 0


def test_a_lazy_tool_is_started_by_who_asks_and_not_by_who_looks(started, tmp_path):
    port, begun = free_port(), tmp_path / "begun"
    server = (
        f"touch {begun}; exec {sys.executable} -m http.server {port} "
        f"--bind 127.0.0.1 --directory {IMAGE}"
    )
    tool = make_tool("board", server, port=port, is_lazy=True)
    started(tool)
    assert program.wait_for_tools([tool], 10) == []
    assert not begun.exists()
    url = f"http://127.0.0.1:{port}/sshd.conf"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url, timeout=10)
    assert refused.value.code == 503 and b"refresh" in refused.value.read()

    def answers() -> bool:
        try:
            return b"PermitRootLogin" in urllib.request.urlopen(url, timeout=5).read()
        except urllib.error.URLError:
            return False

    await_that(answers)


def test_what_does_not_listen_is_named():
    tool = make_tool("lab", "true", port=free_port())
    assert program.wait_for_tools([tool], 0.1) == ["lab"]


def test_a_log_keeps_within_its_size(tmp_path):
    log = program.CappedLog(tmp_path / "x.log", most_bytes=1000)
    for number in range(100):
        log.write(f"{number:099}\n".encode())
    kept = [tmp_path / "x.log", tmp_path / "x.log.1"]
    assert sorted(tmp_path.iterdir()) == kept
    assert all(path.stat().st_size <= 1000 for path in kept)
    assert kept[0].read_text().splitlines()[-1].endswith("99")


@pytest.fixture
def terminal(places):
    """A terminal that is open in the machine; `.read()` is what it was shown."""
    leader, follower = pty.openpty()
    (places.terminals / "0").symlink_to(os.ttyname(follower))

    def read() -> str:
        shown = b""
        while select.select([leader], [], [], 0.2)[0]:  # the system hands it over when it has time
            shown += os.read(leader, 65536)
        return shown.decode()

    yield read
    os.close(leader)
    os.close(follower)


def test_terminals_are_warned_at_ten_minutes_and_at_two_and_again_after_more_time(places, terminal):
    machine = program.Machine(places, [], {})

    def left(seconds: float | None) -> str:
        ends_at = None if seconds is None else time.time() + seconds
        told = {"name": "box", "ends_at": ends_at}
        (places.run / "machine.json").write_text(json.dumps(told))
        machine._warn()
        return terminal()

    assert left(None) == left(3600) == left(601) == ""
    said = left(599)
    assert "stops in 10 min" in said and "extend box --hours 1" in said and "10 分钟后停止" in said
    assert len(said.strip().splitlines()) == 1
    assert left(590) == left(130) == ""
    assert "stops in 2 min" in left(119)
    assert left(60) == left(-5) == ""
    assert left(3600) == ""
    assert "stops in 10 min" in left(595)
    (places.run / "machine.json").write_text("{")
    machine._warn()
    assert left(100).count("stops in") == 1


def test_terminals_are_warned_of_idleness_and_do_not_look_used_by_that(places, terminal):
    machine = program.Machine(places, [], {})
    path = next(places.terminals.iterdir())
    before = path.stat()
    os.utime(path, (before.st_atime - 500, before.st_mtime - 500))
    told = {"name": "box", "ends_at": time.time() + 300, "idle_at": time.time() + 500}
    (places.run / "machine.json").write_text(json.dumps(told))
    machine._warn()
    lines = terminal().strip().splitlines()
    assert "extend box" in lines[0] and "stops in 5 min" in lines[0]
    assert "idle and stops in 8 min" in lines[-1] and "keep box --hours 1" in lines[-1]
    assert path.stat().st_mtime == before.st_mtime - 500
    (places.run / "machine.json").write_text(json.dumps(told | {"idle_at": None}))
    machine._warn()
    assert terminal() == ""


def test_a_shell_has_the_container_s_environment_and_the_token(places, tmp_path):
    environ = {"HF_ENDPOINT": "http://s", "ODD": "a b'c\n$d", "PATH": "/none", "HOME": "/none"}
    program.write_environment(places.environment, environ | {"bad-name": "x", "MINE": "theirs"})
    token = tmp_path / "token"
    token.write_text("mach_abc\n")
    profile = (IMAGE / "profile.sh").read_text()
    profile = profile.replace("/etc/environment.athanor", str(places.environment))
    assert str(places.environment) in profile and "PS1" not in profile
    for shell in filter(shutil.which, ("bash", "dash")):
        done = subprocess.run(
            [shell, "-uec", profile + "\nenv -0"],
            env={
                "PATH": os.environ["PATH"],
                "HOME": "/home",
                "ATHANOR_TOKEN_FILE": str(token),
                "MINE": "own",
            },
            capture_output=True,
            text=True,
            check=True,
        )
        seen = dict(each.split("=", 1) for each in done.stdout.split("\0") if each)
        assert (seen["HF_ENDPOINT"], seen["ODD"]) == ("http://s", environ["ODD"])
        assert (seen["MINE"], seen["HOME"]) == ("own", "/home")
        assert (seen["OPENAI_API_KEY"], seen["HF_TOKEN_PATH"]) == ("mach_abc", str(token))
        assert "/none" not in seen["PATH"]


def test_a_terminal_is_told_once_what_is_not_kept_and_a_command_s_output_stays_its_own(tmp_path):
    (tmp_path / "scratch").mkdir()
    profile = tmp_path / "profile.sh"
    profile.write_text(
        (IMAGE / "profile.sh").read_text().replace("/scratch ]", f"{tmp_path}/scratch ]")
    )
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "dumb"}
    ask = [
        "bash",
        "--norc",
        "--noprofile",
        "-i",
        "-c",
        f". {profile}; . {profile}; bash -ic '. {profile}'",
    ]
    leader, follower = pty.openpty()
    subprocess.run(ask, env=env, stdin=follower, stdout=follower, stderr=follower, check=True)
    told = b""
    while select.select([leader], [], [], 0.2)[0]:
        told += os.read(leader, 65536)
    assert told.decode().count("/scratch is not") == 1, told
    piped = subprocess.run(ask, env=env, stdin=follower, stderr=follower, stdout=subprocess.PIPE)
    plain = subprocess.run(["bash", "-c", f". {profile}"], env=env, stdout=follower)
    assert (piped.stdout, plain.returncode) == (b"", 0)
    assert not select.select([leader], [], [], 0.2)[0] or b"[Athanor]" not in os.read(leader, 65536)


def test_tools_have_the_token_though_the_container_s_environment_has_not(tmp_path):
    (tmp_path / "token").write_text("mach_abc\n")
    told = program.make_tool_environment({"PATH": "/bin"}, tmp_path)
    assert (told["OPENAI_API_KEY"], told["SHELL"]) == ("mach_abc", "/bin/bash")
    assert program.make_tool_environment({"OPENAI_API_KEY": "own"}, tmp_path)["OPENAI_API_KEY"] == (
        "own"
    )


def test_the_notebook_begins_in_its_owner_s_language_where_there_is_one(places, started):
    told = places.run / "machine.json"
    told.write_text('{"language": "zh"}')
    started()
    await_that(places.environment.exists)
    assert not places.lab_settings.exists()  # JupyterLab is not in this image
    (places.lab_settings.parents[2]).mkdir()
    for language, locale in (("zh", "zh_CN"), ("en", "default"), ("", "default")):
        program.write_lab_language(places.lab_settings, language)
        said = json.loads(places.lab_settings.read_text())
        assert said == {"@jupyterlab/translation-extension:plugin": {"locale": locale}}


@pytest.mark.skipif(
    not Path("/usr/sbin/sshd").exists() or os.getuid() != 0,
    reason="needs OpenSSH's server, and root as a machine has it",
)
def test_the_studio_s_key_alone_opens_the_machine_s_sshd(started, places, tmp_path):
    for name in ("gateway", "other"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)]
        subprocess.run(words, check=True)
    allowed = places.run / "gateway_key.pub"
    shutil.copy(tmp_path / "gateway.pub", allowed)
    allowed.chmod(0o600)
    port = free_port()
    conf = (IMAGE / "sshd.conf").read_text()
    conf = conf.replace("Port 22\n", f"Port {port}\nListenAddress 127.0.0.1\n")
    conf = conf.replace("/etc/ssh/", f"{places.ssh}/").replace("/run/athanor/", f"{places.run}/")
    # Below pytest's folders is one that others may write to, which no machine has.
    conf = conf.replace("StrictModes yes", "StrictModes no")
    (tmp_path / "sshd.conf").write_text(conf)
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    command = ("/usr/sbin/sshd", "-D", "-e", "-f", str(tmp_path / "sshd.conf"))
    tool = program.Tool("sshd", port, tuple(with_plain_shells(*command)))
    started(tool)
    assert program.wait_for_tools([tool], 10) == []
    key = (places.ssh / "ssh_host_ed25519_key.pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {key}")

    def ssh(who: str, *words: str) -> subprocess.CompletedProcess[str]:
        options = ["-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-p", str(port)]
        options += ["-i", str(tmp_path / who), "-o", f"UserKnownHostsFile={tmp_path / 'known'}"]
        return subprocess.run(
            ["ssh", *options, "root@127.0.0.1", *words], capture_output=True, text=True, timeout=30
        )

    assert ssh("gateway", "echo in; exit 5").stdout == "in\n"
    assert ssh("gateway", "exit 5").returncode == 5
    refused = ssh("other", "echo in")
    assert refused.returncode == 255 and refused.stdout == ""
    assert "Permission denied (publickey)" in refused.stderr


def test_a_host_key_is_made_once(places):
    program.make_host_key(places.ssh)
    key = places.ssh / "ssh_host_ed25519_key"
    first = key.read_bytes()
    program.make_host_key(places.ssh)
    assert key.read_bytes() == first and key.stat().st_mode & 0o777 == 0o600


def test_it_refuses_to_run_where_it_is_not_a_container_s_first_program():
    if 1 in {os.getpid(), os.getppid()}:
        pytest.skip("this is a container's first program")
    path = str(IMAGE / "athanor_machine.py")
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "by its container" in done.stderr
    done = subprocess.run([sys.executable, path, "what"], capture_output=True, timeout=20)
    assert done.returncode == 2


def pins(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    return {
        name.lower().replace("_", "-"): version
        for name, _, version in (line.partition("==") for line in lines)
    }


@pytest.mark.parametrize("name", ["command.txt", "python.txt", "jupyter.txt"])
def test_every_version_is_pinned_and_where_we_pin_it_too_is_the_same(name):
    ours, theirs = pins(IMAGE.parents[2] / "constraints.txt"), pins(IMAGE / name)
    assert theirs and all(theirs.values())
    if name != "jupyter.txt":  # an environment of its own
        shared = theirs.keys() & ours
        assert {each: theirs[each] for each in shared} == {each: ours[each] for each in shared}


def test_a_spare_machine_waits_for_its_owner_and_begins_with_what_it_reads_by_then(
    started, places, tmp_path
):
    waits = tmp_path / "waits.sh"
    waits.write_text(f"echo read > {tmp_path}/read; cat > {tmp_path}/told; exec sleep 60\n")
    tool = program.Tool("tool", 1, ("/bin/false", "one"), waiting=("/bin/sh", str(waits)))
    plain = make_tool("plain", f"echo $HF_ENDPOINT > {tmp_path}/plain; exec sleep 60")
    started(tool, plain, ATHANOR_SPARE="1")
    await_that((tmp_path / "read").exists)
    assert not (tmp_path / "plain").exists() and not places.environment.exists()
    (places.run / "token").write_text("mine")
    (places.run / "environment.json").write_text('{"HF_ENDPOINT": "http://studio.test"}')
    await_that(lambda: (tmp_path / "told").exists() and (tmp_path / "told").read_text())
    told = json.loads((tmp_path / "told").read_text())
    assert told["HF_ENDPOINT"] == "http://studio.test" and told["OPENAI_API_KEY"] == "mine"
    assert "ATHANOR_SPARE" not in told
    await_that(lambda: (tmp_path / "plain").exists() and (tmp_path / "plain").read_text())
    assert (tmp_path / "plain").read_text() == "http://studio.test\n"
    assert "HF_ENDPOINT" in places.environment.read_text()


def test_a_spare_machine_whose_tool_fell_while_it_waited_starts_it_as_any_other(
    started, places, tmp_path
):
    falls = tmp_path / "falls.sh"
    falls.write_text(f"echo fell > {tmp_path}/fell\n")
    command = ("/bin/sh", "-c", f"echo up > {tmp_path}/up; exec sleep 60")
    started(program.Tool("tool", 1, command, waiting=("/bin/sh", str(falls))), ATHANOR_SPARE="1")
    await_that((tmp_path / "fell").exists)
    (places.run / "environment.json").write_text("{}")
    await_that((tmp_path / "up").exists)
