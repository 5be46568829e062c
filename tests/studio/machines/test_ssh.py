"""The SSH gateway, with the real `ssh`, `sftp`, `scp` and `rsync`, before a real sshd."""

import asyncio
import contextlib
import hashlib
import os
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.accounts.models import SshKey
from studio.accounts.ssh_keys import add_ssh_key
from studio.machines import doors, moments
from studio.machines.models import Machine
from studio.machines.services import stop_machine
from studio.machines.ssh import machine_side
from studio.machines.ssh.gateway import SWEEP_EVERY_S, Gateway
from studio.machines.ssh.host_keys import host_fingerprint, read_gateway_key
from studio.points.services import grant_points
from tests.live import free_port
from tests.plain_shells import with_plain_shells
from tests.studio.machines.attacks import on_ssh
from tests.studio.machines.attacks.rows import run_attacks
from tests.studio.machines.conftest import make_running, tell
from workers.machines.orders import MachinePhase

pytestmark = [
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
    pytest.mark.one_database,
    pytest.mark.timeout(120),
]


@contextlib.contextmanager
def run_sshd(folder: Path) -> Iterator[int]:
    """Run sshd as a machine's image does, on a port of this machine's loopback."""
    folder.mkdir()
    os.makedirs("/run/sshd", exist_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host")], check=True
    )
    (folder / "keys").write_bytes(read_gateway_key().export_public_key())
    port = free_port()
    options = [
        f"HostKey {folder}/host", f"AuthorizedKeysFile {folder}/keys", "StrictModes no",
        "UsePAM no", "PermitRootLogin prohibit-password", "PasswordAuthentication no",
        "AllowAgentForwarding yes", "Subsystem sftp internal-sftp", "AcceptEnv LANG LC_* MY_*",
        f"ListenAddress 127.0.0.1:{port}", "MaxSessions 50",
    ]  # fmt: skip
    (folder / "sshd_config").write_text("\n".join(options) + "\n")
    with (folder / "log").open("w") as log:
        command = ("/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "sshd_config"))
        sshd = subprocess.Popen(with_plain_shells(*command), stderr=log)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        yield port
    finally:
        sshd.terminate()
        sshd.wait(10)


@contextlib.contextmanager
def run_gateway() -> Iterator[int]:
    """Run the gateway on a thread with its own loop."""
    loop, gateway = asyncio.new_event_loop(), Gateway()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port = asyncio.run_coroutine_threadsafe(gateway.open("127.0.0.1", 0), loop).result(20)
    try:
        yield port
    finally:
        asyncio.run_coroutine_threadsafe(gateway.close(), loop).result(20)
        time.sleep(0.2)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


class Laptop:
    """Somebody's machine at home, with a key."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir()
        self.folder, self.port = folder, port
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True
        )
        self.options = [
            "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes",
            "-o", f"UserKnownHostsFile={folder}/known", "-o", "IdentitiesOnly=yes",
            "-o", "LogLevel=INFO", "-i", str(folder / "key"),
        ]  # fmt: skip

    @property
    def public_key(self) -> str:
        return (self.folder / "key.pub").read_text()

    def command(self, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
        return ["ssh", *self.options, *options, "-p", str(self.port), *arguments]

    def ssh(self, *arguments: str, options: tuple[str, ...] = (), **kept):
        kept = {"capture_output": True, "timeout": 60, "check": False} | kept
        return subprocess.run(self.command(*arguments, options=options), **kept)

    def run(self, program: str, *arguments: str, **kept):
        kept = {"capture_output": True, "timeout": 60, "check": False} | kept
        return subprocess.run([program, *self.options, "-P", str(self.port), *arguments], **kept)


@pytest.fixture
def machine(rich, node) -> Machine:
    return make_running(rich, node)


@pytest.fixture
def laptop(rich, machine, tmp_path, monkeypatch) -> Iterator[Laptop]:
    """Alice's laptop, its key in her profile."""
    with run_sshd(tmp_path / "sshd") as inner:

        async def open_socket(door: doors.Door, port: int) -> socket.socket:
            assert (door.machine_key, port) == (machine.key, 22)
            opened = socket.socket()
            opened.setblocking(False)
            await asyncio.get_running_loop().sock_connect(opened, ("127.0.0.1", inner))
            return opened

        monkeypatch.setattr(machine_side, "open_socket", open_socket)
        with run_gateway() as port:
            laptop = Laptop(tmp_path / "laptop", port)
            add_ssh_key(user=rich, public_key=laptop.public_key)
            yield laptop


def test_a_command_runs_with_its_bytes_and_its_end(laptop):
    payload = os.urandom(3_000_000)
    done = laptop.ssh(
        "box@127.0.0.1", "cat; echo err >&2; exit 7", input=payload,
    )  # fmt: skip
    assert done.returncode == 7
    assert done.stdout == payload
    assert b"err" in done.stderr
    fingerprint = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(laptop.folder / "known")], capture_output=True, text=True
    ).stdout
    assert host_fingerprint() in fingerprint
    assert SshKey.objects.get().last_used_at is not None
    killed = laptop.ssh("box@127.0.0.1", "kill -9 $$")
    assert killed.returncode in {137, 255}


def test_what_comes_after_the_exit_status_comes_over(laptop):
    """sshd may send the status first, and a slow reader finds much of the output waiting."""
    size = 20_000_000
    with subprocess.Popen(
        laptop.command("box@127.0.0.1", f"head -c {size} /dev/zero; exit 3"),
        stdout=subprocess.PIPE,
    ) as session:
        time.sleep(1.5)
        assert len(session.stdout.read()) == size
        assert session.wait(20) == 3


def test_a_status_that_comes_after_the_end_of_the_output_comes_over(laptop):
    """The client has ended its side too: hearing the end alone, it would close and not listen."""
    with share_connection() as shared:
        for options in ((), shared):
            done = laptop.ssh(
                "box@127.0.0.1", "echo said; exec >&- 2>&-; sleep 1; exit 3",
                options=options, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert (done.returncode, done.stdout) == (3, b"said\n")
        laptop.ssh("-O", "exit", "box@127.0.0.1", options=shared)


def test_a_terminal_is_one_of_the_right_size_and_environment(laptop):
    done = laptop.ssh(
        "box@127.0.0.1", "test -t 0 && echo tty; echo $TERM $MY_NAME",
        options=("-tt", "-o", "SetEnv=MY_NAME=ada"), env=os.environ | {"TERM": "xterm-256color"},
    )  # fmt: skip
    assert done.stdout.split() == [b"tty", b"xterm-256color", b"ada"]


def test_files_come_over_by_sftp_scp_and_rsync(laptop, tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(5_000_000))
    wanted = hashlib.sha256(source.read_bytes()).hexdigest()

    def check(done) -> None:
        assert done.returncode == 0, done.stderr
        assert hashlib.sha256(target.read_bytes()).hexdigest() == wanted
        target.unlink()

    check(laptop.run("scp", str(source), f"box@127.0.0.1:{target}"))
    check(laptop.run("scp", "-O", str(source), f"box@127.0.0.1:{target}"))
    batch = tmp_path / "batch"
    batch.write_text(f"put {source} {target}\nget {target} {tmp_path}/back\n")
    check(laptop.run("sftp", "-b", str(batch), "box@127.0.0.1"))
    assert hashlib.sha256((tmp_path / "back").read_bytes()).hexdigest() == wanted
    shell = " ".join(laptop.command())
    check(
        subprocess.run(
            ["rsync", "-e", shell, str(source), f"box@127.0.0.1:{target}"],
            capture_output=True, timeout=60, check=False,
        )
    )  # fmt: skip


def test_ports_and_sockets_in_the_machine_are_forwarded(laptop, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=echo_once, args=[server], daemon=True).start()
        inner = server.getsockname()[1]
        done = laptop.ssh("-W", f"127.0.0.1:{inner}", "box@127.0.0.1", input=b"hello")
    assert done.stdout == b"hello", done.stderr
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        threading.Thread(target=echo_once, args=[server], daemon=True).start()
        local = free_port()
        with subprocess.Popen(
            laptop.command("-N", "-L", f"{local}:{path}", "box@127.0.0.1"),
            stderr=subprocess.DEVNULL,
        ) as tunnel:
            try:
                assert ask(local, b"over a socket") == b"over a socket"
            finally:
                tunnel.terminate()


def echo_once(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        while piece := connection.recv(65536):
            connection.sendall(piece)


@contextlib.contextmanager
def serve_echo() -> Iterator[int]:
    """Echo whoever comes to this port, one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    echo_once(server)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def ask(port: int, said: bytes) -> bytes:
    for _ in range(100):
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 10) as opened,
        ):
            opened.sendall(said)
            opened.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda opened=opened: opened.recv(65536), b""))
        time.sleep(0.1)
    raise AssertionError("no tunnel")


def test_the_machine_may_not_listen_on_the_laptop_unless_the_studio_lets_it(laptop, settings):
    far = free_port()
    options = ("-o", "ExitOnForwardFailure=yes", "-R", f"127.0.0.1:{far}:127.0.0.1:9")
    refused = laptop.ssh("box@127.0.0.1", "true", options=options)
    assert refused.returncode == 255
    assert b"remote port forwarding failed" in refused.stderr
    settings.SSH_ALLOW_REMOTE_FORWARD = True
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=echo_once, args=[server], daemon=True).start()
        near = server.getsockname()[1]
        with subprocess.Popen(
            laptop.command("-N", "-R", f"127.0.0.1:{far}:127.0.0.1:{near}", "box@127.0.0.1"),
            stderr=subprocess.DEVNULL,
        ) as tunnel:
            try:
                assert ask(far, b"back home") == b"back home"
            finally:
                tunnel.terminate()


@pytest.fixture
def agent(laptop) -> Iterator[dict[str, str]]:
    """The environment of an agent that holds the laptop's key."""
    agent = subprocess.run(["ssh-agent", "-s"], capture_output=True, text=True, check=True).stdout
    facts = dict(part.split("=", 1) for part in agent.replace("\n", "").split(";") if "=" in part)
    env = os.environ | facts
    try:
        subprocess.run(
            ["ssh-add", str(laptop.folder / "key")], env=env, check=True, capture_output=True
        )
        yield env
    finally:
        os.kill(int(facts["SSH_AGENT_PID"]), 15)


def test_the_agent_is_forwarded_where_it_is_asked_for(laptop, agent):
    done = laptop.ssh("box@127.0.0.1", "ssh-add -l", options=("-A",), env=agent)
    assert done.returncode == 0 and b"ED25519" in done.stdout, done.stderr
    assert laptop.ssh("box@127.0.0.1", "ssh-add -l", env=agent).returncode != 0


def test_a_shared_connection_has_the_agent_that_a_later_session_brings(laptop, agent):
    with share_connection() as shared, serve_echo() as near:
        port = free_port()
        forward = f"127.0.0.1:{port}:127.0.0.1:{near}"
        first = laptop.command("-A", "-N", "-L", forward, "box@127.0.0.1", options=shared)
        with subprocess.Popen(first, stderr=subprocess.DEVNULL, env=agent) as tunnel:
            try:
                assert ask(port, b"through") == b"through"  # so the machine's side is made
                later = laptop.ssh("-A", "box@127.0.0.1", "ssh-add -l", options=shared, env=agent)
                assert later.returncode == 0 and b"ED25519" in later.stdout, later.stderr
                assert ask(port, b"still") == b"still"
                plain = laptop.ssh("box@127.0.0.1", "true", options=shared, env=agent)
                assert plain.returncode == 0
            finally:
                laptop.ssh("-O", "exit", "box@127.0.0.1", options=shared)
                tunnel.terminate()


def test_strangers_unknown_names_and_passwords_are_refused_alike(laptop, bob, node, tmp_path):
    stranger = Laptop(tmp_path / "stranger", laptop.port)
    refusals = [stranger.ssh("box@127.0.0.1", "true"), laptop.ssh("other@127.0.0.1", "true")]
    add_ssh_key(user=bob, public_key=stranger.public_key)
    refusals.append(stranger.ssh("box@127.0.0.1", "true"))  # alice's, not bob's
    key = Machine.objects.get().key
    refusals.append(stranger.ssh(f"{key}@127.0.0.1", "true"))
    said = {(r.returncode, r.stderr.splitlines()[-1].partition(b": ")[2]) for r in refusals}
    assert said == {(255, b"Permission denied (publickey).")}
    assert laptop.ssh(f"{key}@127.0.0.1", "echo in").stdout == b"in\n"


def test_two_people_may_call_their_machines_alike(laptop, rich, bob, node, machine, tmp_path):
    grant_points(by=None, to=bob, mpoints=1_000_000, note="", key="bobs")
    theirs = make_running(bob, node)
    other = Laptop(tmp_path / "other", laptop.port)
    add_ssh_key(user=bob, public_key=other.public_key)
    assert laptop.ssh("box@127.0.0.1", "echo mine").stdout == b"mine\n"
    assert theirs.name == machine.name
    assert other.ssh("box@127.0.0.1", "echo x").stdout != b"x\n"  # the fixture leads to Alice's


def test_who_is_signed_in_is_there(laptop, machine):
    moments.forget_notes()
    assert moments.read_presence([machine.key]) == {}
    assert laptop.ssh("box@127.0.0.1", "true").returncode == 0
    assert moments.read_presence([machine.key])[machine.key]["ssh"] > time.time() - 20


def test_a_machine_that_does_not_run_says_so(laptop, rich, node, machine):
    stop_machine(by=rich, machine=machine)
    tell(machine, node, MachinePhase.STOPPED)
    done = laptop.ssh("box@127.0.0.1", "true")
    assert done.returncode == 255
    assert b"Machine box is stopped: start it at http" in done.stderr


@pytest.mark.parametrize("how", ["key", "person", "machine"])
def test_who_may_stay_no_longer_is_let_go_within_seconds(
    laptop, rich, node, machine, how, monkeypatch
):
    sweeps: list[float] = []
    sweep = Gateway.sweep

    async def count(self: Gateway) -> None:
        sweeps.append(time.monotonic())
        await sweep(self)

    monkeypatch.setattr(Gateway, "sweep", count)
    with subprocess.Popen(
        laptop.command("box@127.0.0.1", "echo in; sleep 60"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as session:
        assert session.stdout.readline() == b"in\n"
        if how == "key":
            SshKey.objects.all().delete()
        elif how == "person":
            rich.is_active = False
            rich.save()
        else:
            stop_machine(by=rich, machine=machine)
        before = len(sweeps)
        assert session.wait(60) == 255
        # The next one tells; a client that takes its time to end may see one more.
        assert len(sweeps) - before <= 2 and 2 * SWEEP_EVERY_S + 1 <= 5, sweeps
        told = session.stderr.read()
        assert b"removed" in told or b"disabled" in told or b"stopped" in told, told


def test_an_idle_connection_is_let_go(laptop, settings):
    settings.SSH_IDLE_S = 1
    done = laptop.ssh("box@127.0.0.1", "sleep 60")
    assert done.returncode == 255
    assert b"Nothing has moved" in done.stderr


@contextlib.contextmanager
def share_connection() -> Iterator[tuple[str, ...]]:
    """Make room for a client's master socket, whose path has 108 letters at most."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield (
            "-o", "ControlMaster=auto", "-o", f"ControlPath={folder}/c", "-o", "ControlPersist=20",
        )  # fmt: skip


def test_many_sessions_share_one_connection(laptop):
    with share_connection() as shared:
        assert laptop.ssh("box@127.0.0.1", "true", options=shared).returncode == 0
        running = [
            subprocess.Popen(
                laptop.command("box@127.0.0.1", f"sleep 0.5; echo {n}", options=shared),
                stdout=subprocess.PIPE,
            )
            for n in range(8)
        ]
        assert [each.communicate(timeout=60)[0] for each in running] == [
            f"{n}\n".encode() for n in range(8)
        ]
        laptop.ssh("-O", "exit", "box@127.0.0.1", options=shared)


def test_no_key_or_name_leads_into_anothers_machine(laptop, rich, bob, olga, machine, tmp_path):
    his = Laptop(tmp_path / "his", laptop.port)
    gate = on_ssh.Gate(rich, bob, olga, laptop, his, machine.key)
    gate.calm()
    assert laptop.ssh("box@127.0.0.1", "echo in").stdout == b"in\n"
    run_attacks(gate, on_ssh.SSH, before=gate.calm)
