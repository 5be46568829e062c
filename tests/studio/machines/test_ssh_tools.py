"""What people's tools ask of the SSH gateway: editors, rsync of trees, terminals that grow."""

import asyncio
import fcntl
import filecmp
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from pathlib import Path

import asyncssh
import pytest

from tests.studio.machines import test_ssh
from tests.studio.machines.test_ssh import Laptop

pytestmark = [
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
    pytest.mark.one_database,
    pytest.mark.timeout(120),
]
machine, laptop = test_ssh.machine, test_ssh.laptop


def read_until(descriptor: int, pattern: bytes) -> bytes:
    said = b""
    while not re.search(pattern, said):
        assert select.select([descriptor], [], [], 30)[0], said
        said += os.read(descriptor, 65536)
    return said


def test_a_terminal_grows_with_its_window(laptop):
    def set_size(rows: int, columns: int) -> None:
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    ours, theirs = pty.openpty()
    set_size(30, 100)
    script = "stty size; read x; stty size"
    command = laptop.command("-tt", "box@127.0.0.1", f"trap 'echo grown' WINCH; {script}")
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, start_new_session=True) as session:
        read_until(ours, rb"30 100")
        set_size(50, 160)
        session.send_signal(signal.SIGWINCH)
        os.write(ours, b"\n")
        read_until(ours, rb"50 160")
        while session.poll() is None:  # it ends when its last words are read
            if select.select([ours], [], [], 0.1)[0]:
                os.read(ours, 65536)
        assert session.returncode == 0
    os.close(ours)
    os.close(theirs)


def test_the_language_goes_along(laptop):
    done = laptop.ssh(
        "box@127.0.0.1", "echo $LANG $LC_TIME", options=("-o", "SendEnv=LANG LC_*"),
        env=os.environ | {"LANG": "zh_CN.UTF-8", "LC_TIME": "en_GB.UTF-8"},
    )  # fmt: skip
    assert done.stdout == b"zh_CN.UTF-8 en_GB.UTF-8\n", done.stderr


def test_a_clients_own_keepalive_is_answered(laptop):
    options = ("-o", "ServerAliveInterval=1", "-o", "ServerAliveCountMax=1")
    done = laptop.ssh("box@127.0.0.1", "sleep 4; echo still here", options=options)
    assert done.stdout == b"still here\n", done.stderr


def test_a_tree_goes_there_and_back_by_rsync(laptop, tmp_path):
    source, there, back = (tmp_path / name for name in ("source", "there", "back"))
    for number in range(300):
        path = source / f"folder {number % 7}" / f"文件-{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(1000 + number))
    (source / "large").write_bytes(os.urandom(40_000_000))
    (source / "link").symlink_to("large")
    shell = " ".join(laptop.command())
    for start, end in (
        (f"{source}/", f"box@127.0.0.1:{there}"),
        (f"box@127.0.0.1:{there}/", str(back)),
    ):
        done = subprocess.run(
            ["rsync", "-a", "-z", "-e", shell, start, end],
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    names = [str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()]
    assert len(names) == 302
    assert filecmp.cmpfiles(source, back, names, shallow=False)[1:] == ([], [])
    assert (back / "link").is_symlink()


async def test_an_editor_runs_commands_and_moves_files_over_one_connection(
    laptop: Laptop, tmp_path: Path
):
    """As PyCharm and VS Code do: a server is put there, made to run, and talked to, all at once."""
    key = asyncssh.read_private_key(laptop.folder / "key")
    async with asyncssh.connect(
        "127.0.0.1", laptop.port, username="box", client_keys=[key], known_hosts=None, config=None
    ) as connection:
        script = tmp_path / "server.py"
        async with connection.start_sftp_client() as sftp:
            async with sftp.open(str(script), "w") as file:
                await file.write(
                    "import socket\n"
                    "with socket.create_server(('127.0.0.1', 0)) as server:\n"
                    "    print(server.getsockname()[1], flush=True)\n"
                    "    caller, _ = server.accept()\n"
                    "    caller.sendall(b'hello from inside')\n"
                )
            await sftp.chmod(str(script), 0o700)
            assert (await sftp.stat(str(script))).permissions & 0o777 == 0o700
            server = await connection.create_process(f"python3 {script}")
            port = int(await server.stdout.readline())
            reader, _ = await connection.open_connection("127.0.0.1", port)
            answers = await asyncio.gather(
                *(connection.run(f"echo {n}; echo e >&2; exit {n}") for n in range(6)),
                sftp.listdir(str(tmp_path)),
            )
            assert await reader.read() == b"hello from inside"
        for n, answer in enumerate(answers[:6]):
            assert (answer.stdout, answer.stderr, answer.exit_status) == (f"{n}\n", "e\n", n)
        assert "server.py" in answers[6]
        assert (await server.wait()).exit_status == 0
