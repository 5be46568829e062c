#!/usr/bin/python3
"""What goes on in a dev machine: `athanor-machine` starts its tools and keeps them going.

Where ATHANOR_SPARE is 1 it waits for /run/athanor/environment.json first: it is nobody's yet.
The standard library alone, one file, so that it runs in any image with Python 3.11. Whoever opens a
tool has been let in by the studio's proxy or its SSH gateway: the tools themselves ask nobody, and
hear only what reaches the machine's own network.

    athanor-machine            what the container runs: start what is installed, stay
    athanor-machine wait [S]   stay until all of it listens, S seconds at most (60)
"""

import json
import os
import queue
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LOG_BYTES = 2 * 2**20  # and as many of the log before
_PAUSES_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
_SETTLED_S = 60.0
"""A tool that ran for so long has not fallen at its start: the pauses begin anew."""
_TOOL_ENDS_S = 5.0
_ALL_END_S = 7.0
_LOOK_S = 20.0
_OWNER_LOOK_S = 0.02
_WARN_S = (600, 120)
_VISITOR_S = 2.0
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What each login sets for itself.
_OWN_VARIABLES = {"HOME", "HOSTNAME", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHELL", "SHLVL", "TERM"}
_OWN_VARIABLES |= {"USER", "_"}
_LAB_LOCALES = {"zh": "zh_CN"}
_WARNING = (
    "\r\n[Athanor] \u672c\u673a\u5c06\u5728 {minutes} \u5206\u949f\u540e\u505c\u6b62\uff0c"
    "\u5982\u9700\u66f4\u591a\u65f6\u95f4\uff1a{command}"
    " | This machine stops in {minutes} min; for more time: {command}\r\n"
)
_IDLE_WARNING = (
    "\r\n[Athanor] \u672c\u673a\u5904\u4e8e\u7a7a\u95f2\uff0c{minutes} "
    "\u5206\u949f\u540e\u505c\u6b62\uff0c\u5982\u9700\u4fdd\u7559\uff1a{command}"
    " | This machine is idle and stops in {minutes} min; to keep it: {command}\r\n"
)
_STARTING = (
    "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=2>"
    "<p>\u6b63\u5728\u542f\u52a8\u2026 Starting..."
).encode()
_STARTING_ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html; charset=utf-8\r\n"
    b"Cache-Control: no-store\r\nRetry-After: 2\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_STARTING), _STARTING)
)


@dataclass(frozen=True)
class Places:
    """Where things are."""

    run: Path = Path("/run/athanor")
    logs: Path = Path("/var/log/athanor")
    ssh: Path = Path("/etc/ssh")
    environment: Path = Path("/etc/environment.athanor")
    terminals: Path = Path("/dev/pts")
    sshd_run: Path = Path("/run/sshd")
    lab_settings: Path = Path("/opt/jupyter/share/jupyter/lab/settings/overrides.d/athanor.json")


@dataclass(frozen=True)
class Tool:
    """A program that listens at a port."""

    name: str
    port: int
    command: tuple[str, ...]
    is_lazy: bool = False
    """Started when somebody first comes to its port."""
    environment: Mapping[str, str] = field(default_factory=dict)
    waiting: tuple[str, ...] = ()
    """What stands before the command's arguments in a spare machine: it reads what is heavy, and
    begins when it is told its environment on its standard input."""

    @property
    def is_installed(self) -> bool:
        """Whether the image has it."""
        return os.access(self.command[0], os.X_OK)


TOOLS = (
    Tool("sshd", 22, ("/usr/sbin/sshd", "-D", "-e", "-f", "/etc/athanor/sshd.conf")),
    Tool(
        "code-server",
        8080,
        (
            *("/opt/code-server/bin/code-server", "--config", "/etc/athanor/code-server.yaml"),
            *("--bind-addr", "0.0.0.0:8080", "--auth", "none"),
            *("--disable-telemetry", "--disable-update-check"),
            # The home may be that of several machines; a socket there would be the last one's.
            *("--session-socket", "/run/code-server.sock", "/root"),
        ),
        waiting=("/opt/code-server/lib/node", "/opt/athanor/spare/code_server.js"),
    ),
    Tool(
        "jupyter",
        8888,
        (
            *("/opt/jupyter/bin/jupyter-lab", "--ip=0.0.0.0", "--port=8888", "--no-browser"),
            *("--ServerApp.port_retries=0", "--allow-root", "--ServerApp.root_dir=/root"),
            *("--IdentityProvider.token=", "--PasswordIdentityProvider.hashed_password="),
            "--ServerApp.allow_remote_access=True",
            # It would tell everybody what is newest, by asking a server outside.
            "--LabApp.news_url=",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ),
        environment={"JUPYTER_RUNTIME_DIR": "/run/jupyter"},  # by process id, so no other's
        waiting=("/opt/jupyter/bin/python3", "/opt/athanor/spare/jupyter.py"),
    ),
    Tool(
        "tensorboard",
        6006,
        (
            *("/opt/python/bin/tensorboard", "--logdir", "/root/runs"),
            *("--host", "0.0.0.0", "--port", "6006"),
        ),
        is_lazy=True,
    ),
)


class CappedLog:
    """A file that is put aside when it is full, as `NAME.1`."""

    def __init__(self, path: Path, most_bytes: int = _LOG_BYTES) -> None:
        self._path, self._most_bytes = path, most_bytes
        self._lock = threading.Lock()
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def write(self, data: bytes) -> None:
        """Append; a disk that is full loses lines and stops no tool."""
        with self._lock, suppress(OSError):
            if self._file.tell() + len(data) > self._most_bytes:
                self._file.close()
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
                self._file = self._path.open("ab", buffering=0)
            self._file.write(data)

    def say(self, text: str) -> None:
        """Append a line of ours."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.write(f"{stamp} athanor-machine: {text}\n".encode())


class Keeper(threading.Thread):
    """Keeps one tool going until it is told to stop."""

    def __init__(
        self,
        tool: Tool,
        log: CappedLog,
        stopping: threading.Event,
        environ: Mapping[str, str],
    ) -> None:
        super().__init__(name=tool.name, daemon=True)
        self._tool, self._log, self._stopping = tool, log, stopping
        self._environ = dict(environ) | dict(tool.environment)
        self._waiting: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Start what waits for an owner, where the tool has such a thing; nothing depends on it."""
        command = (*self._tool.waiting, *self._tool.command[1:])
        if self._tool.waiting and all(map(os.path.exists, self._tool.waiting)):
            with suppress(OSError):
                self._waiting = self._spawn(command, "/", stdin=subprocess.PIPE)

    def tell(self, environ: Mapping[str, str]) -> None:
        """Say what the tool is to know, now that there is an owner; before `start`."""
        self._environ = dict(environ) | dict(self._tool.environment)

    def run(self) -> None:
        """Start the tool, and again whenever it falls, with growing pauses."""
        falls = 0
        while not self._stopping.is_set():
            begun = time.monotonic()
            try:
                if self._tool.is_lazy and not await_visitor(self._tool.port, self._stopping):
                    return
                begun = time.monotonic()
                how = self._run_once()
            except OSError as error:  # its port is taken, or it cannot be started
                how = f"did not start: {error}"
            if self._stopping.is_set():
                return
            falls = 0 if time.monotonic() - begun > _SETTLED_S else falls
            pause_s = _PAUSES_S[min(falls, len(_PAUSES_S) - 1)]
            falls += 1
            self._log.say(f"{self._tool.name} {how}; again in {pause_s:.0f} s")
            self._stopping.wait(pause_s)

    def _run_once(self) -> str:
        process = self._wake() or self._spawn(
            self._tool.command, self._environ.get("HOME") or "/", stdin=subprocess.DEVNULL
        )
        self._log.say(f"{self._tool.name} started as {process.pid}")
        while process.poll() is None and not self._stopping.wait(0.2):
            pass
        _end_group(process)
        return f"ended with {process.returncode}"

    def _wake(self) -> "subprocess.Popen[bytes] | None":
        """Tell what waits its environment, and return it; None where nothing does."""
        process, self._waiting = self._waiting, None
        if process is None or process.poll() is not None:
            return None
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin as told:
            told.write(json.dumps(self._environ).encode())
        return process

    def _spawn(
        self, command: tuple[str, ...], folder: str, *, stdin: int
    ) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
            env=self._environ,
        )
        # Not this thread's work: what a tool has started may hold the pipe when the tool is gone.
        threading.Thread(target=self._copy_output, args=[process], daemon=True).start()
        return process

    def _copy_output(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        with process.stdout as output:
            while data := os.read(output.fileno(), 65536):
                self._log.write(data)


class Machine:
    """All that goes on in one dev machine."""

    def __init__(
        self,
        places: Places,
        tools: Iterable[Tool],
        environ: Mapping[str, str],
        end_everyone: Callable[[], object] = lambda: None,
    ) -> None:
        # A signal may come while this very thread holds an event's lock; a queue bears that.
        self._wishes: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._places = places
        self._tools = [tool for tool in tools if tool.is_installed]
        self._environ = dict(environ)
        self._end_everyone = end_everyone
        self._warned: dict[str, set[int]] = {"ends_at": set(), "idle_at": set()}

    def stop(self) -> None:
        """Have `run` end everything and return; signal handlers may call it."""
        self._wishes.put(None)

    def run(self) -> None:
        """Start everything, and stay until `stop` is called and all has ended."""
        log = CappedLog(self._places.logs / "machine.log")
        if any(tool.name == "sshd" for tool in self._tools):
            make_host_key(self._places.ssh)
            self._places.sshd_run.mkdir(mode=0o755, exist_ok=True)
        environ = make_tool_environment(self._environ, self._places.run)
        keepers = [
            Keeper(tool, CappedLog(self._places.logs / f"{tool.name}.log"), self._stopping, environ)
            for tool in self._tools
        ]
        if self._environ.pop("ATHANOR_SPARE", "") == "1" and not self._await_owner(keepers):
            return
        write_environment(self._places.environment, self._environ)
        with suppress(OSError):
            write_lab_language(self._places.lab_settings, str(self._read_told().get("language")))
        environ = make_tool_environment(self._environ, self._places.run)
        for keeper in keepers:
            keeper.tell(environ)
            keeper.start()
        log.say("started " + (", ".join(tool.name for tool in self._tools) or "nothing"))
        while not self._is_told_to_stop(_LOOK_S):
            self._warn()
        log.say("stopping")
        self._stopping.set()
        deadline = time.monotonic() + _ALL_END_S
        self._end_everyone()
        for keeper in keepers:
            keeper.join(max(0.0, deadline - time.monotonic()))

    def _await_owner(self, keepers: "list[Keeper]") -> bool:
        """Wait, in a spare machine, until it is somebody's and told what they are to know.

        Returns False where it was told to stop first.
        """
        told = self._places.run / "environment.json"
        if not told.exists():
            for keeper in keepers:
                keeper.prepare()
        while not self._is_told_to_stop(_OWNER_LOOK_S):
            with suppress(OSError, ValueError):
                news = json.loads(told.read_text(encoding="utf-8"))
                self._environ |= {str(name): str(value) for name, value in news.items()}
                return True
        return False

    def _is_told_to_stop(self, patience_s: float) -> bool:
        try:
            self._wishes.get(timeout=patience_s)
        except queue.Empty:
            return False
        return True

    def _warn(self) -> None:
        """Tell the terminals how long there is, at ten minutes and at two."""
        told = self._read_told()
        name = str(told.get("name", ""))
        for what in self._warned:
            try:
                left_s = float(told[what]) - time.time()
            except (ValueError, KeyError, TypeError):  # not told, or no end
                self._warned[what].clear()
                continue
            if self._is_due(what, left_s):
                minutes = max(1, round(left_s / 60))
                line = make_warning(minutes, name, is_idle=what == "idle_at")
                write_to_terminals(self._places.terminals, line)

    def _read_told(self) -> dict[str, Any]:
        """Return what the studio says of this machine; nothing where it says nothing."""
        with suppress(OSError, ValueError):
            told = json.loads((self._places.run / "machine.json").read_text(encoding="utf-8"))
            return told if isinstance(told, dict) else {}
        return {}

    def _is_due(self, what: str, left_s: float) -> bool:
        warned = self._warned[what]
        warned -= {mark for mark in warned if left_s > mark + 60}  # it was extended
        due = {mark for mark in _WARN_S if 0 < left_s <= mark} - warned
        warned |= due
        return bool(due) and min(due) == min(warned)


def make_warning(minutes: int, name: str, *, is_idle: bool = False) -> bytes:
    """Return the line that terminals are shown."""
    named = name if _NAME.fullmatch(name) else "NAME"
    command = f"athanor machine {'keep' if is_idle else 'extend'} {named} --hours 1"
    text = _IDLE_WARNING if is_idle else _WARNING
    return text.format(minutes=minutes, command=command).encode()


def write_to_terminals(folder: Path, line: bytes) -> None:
    """Write to every terminal that is open; one that takes nothing now goes without.

    A terminal's times tell the node that somebody uses it: our own line leaves them as they are.
    """
    for path in folder.glob("[0-9]*"):
        with suppress(OSError):
            terminal = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                before = os.fstat(terminal)
                os.write(terminal, line)
                os.utime(terminal, ns=(before.st_atime_ns, before.st_mtime_ns))
            finally:
                os.close(terminal)


def write_environment(path: Path, environ: Mapping[str, str]) -> None:
    """Write the container's environment for shells to read; what one has set already stays."""
    lines = [
        f'[ -n "${{{name}+set}}" ] || export {name}={shlex.quote(value)}'
        for name, value in sorted(environ.items())
        if _VARIABLE.fullmatch(name) and name not in _OWN_VARIABLES
    ]
    partial = path.with_name(f"{path.name}.part")
    partial.write_text("\n".join(["# Written at each start.", *lines, ""]), encoding="utf-8")
    partial.chmod(0o644)
    partial.replace(path)


def write_lab_language(path: Path, language: str) -> None:
    """Have JupyterLab begin in its owner's language; what they choose in its menu goes before."""
    if not path.parents[2].is_dir():
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    locale = {"locale": _LAB_LOCALES.get(language, "default")}
    path.write_text(json.dumps({"@jupyterlab/translation-extension:plugin": locale}))


def make_tool_environment(environ: Mapping[str, str], run: Path) -> dict[str, str]:
    """Return what tools are told: as a shell is, and the token, which the container's own lacks."""
    told = {"HOME": "/root", "SHELL": "/bin/bash", "PATH": os.defpath} | dict(environ)
    if Path("/opt/python/bin").is_dir():
        told["PATH"] = f"/opt/python/bin:{told['PATH']}"
    token = Path(told.get("ATHANOR_TOKEN_FILE") or run / "token")
    told.setdefault("HF_TOKEN_PATH", str(token))
    with suppress(OSError, UnicodeDecodeError):
        told.setdefault("OPENAI_API_KEY", token.read_text(encoding="utf-8").strip())
    return told


def make_host_key(folder: Path) -> None:
    """Make this machine's own host key, where it has none yet."""
    key = folder / "ssh_host_ed25519_key"
    if key.exists():
        return
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = folder / ".ssh_host_ed25519_key"
    for left in (draft, draft.with_name(f"{draft.name}.pub")):
        left.unlink(missing_ok=True)
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(draft)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    draft.with_name(f"{draft.name}.pub").replace(key.with_name(f"{key.name}.pub"))
    draft.replace(key)


def await_visitor(port: int, stopping: threading.Event) -> bool:
    """Hold a port until somebody asks something there; tell them to come again in a moment.

    Returns False where it was told to stop first. A look whether anything listens asks nothing.
    """
    with socket.create_server(("0.0.0.0", port)) as door:
        door.settimeout(0.2)
        while not stopping.is_set():
            try:
                visitor, _ = door.accept()
            except TimeoutError:
                continue
            with visitor, suppress(OSError):
                visitor.settimeout(_VISITOR_S)
                if visitor.recv(65536):
                    visitor.sendall(_STARTING_ANSWER)
                    visitor.shutdown(socket.SHUT_WR)
                    return True
    return False


def wait_for_tools(tools: Iterable[Tool], patience_s: float) -> list[str]:
    """Wait until all tools listen; return the names of those that do not by then."""
    missing = [tool for tool in tools if tool.is_installed]
    deadline = time.monotonic() + patience_s
    while True:
        missing = [tool for tool in missing if not _listens(tool.port)]
        if not missing or time.monotonic() > deadline:
            return [tool.name for tool in missing]
        time.sleep(0.2)


def main(words: list[str]) -> int:
    """Run the command; return how it went."""
    match words:
        case []:
            return _stay()
        case ["wait", *rest] if len(rest) <= 1 and all(re.fullmatch(r"\d{1,5}", w) for w in rest):
            missing = wait_for_tools(TOOLS, float(rest[0]) if rest else 60)
            if missing:
                print(f"These do not listen yet: {', '.join(missing)}.", file=sys.stderr)
            return 1 if missing else 0
        case _:
            print((__doc__ or "").strip(), file=sys.stderr)
            return 2


def _stay() -> int:
    if 1 not in {os.getpid(), os.getppid()}:  # what ends, ends every process there is
        print("athanor-machine is started with the machine, by its container.", file=sys.stderr)
        return 1
    os.umask(0o022)
    os.chdir("/")  # a spare machine's /root is another one later
    machine = Machine(Places(), TOOLS, os.environ, end_everyone=_end_everyone)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: machine.stop())
    machine.run()
    return 0


def _end_everyone() -> None:
    """Ask every process of the machine to end, and give a person's runs a moment to do so."""
    with suppress(ProcessLookupError):
        os.kill(-1, signal.SIGTERM)
    deadline = time.monotonic() + _TOOL_ENDS_S
    while time.monotonic() < deadline and _has_others():
        time.sleep(0.1)


def _has_others() -> bool:
    """Whether a process lives that is neither the container's first nor this one."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in {1, os.getpid()}:
            with suppress(OSError):
                if (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                    return True
    return False


def _end_group(process: "subprocess.Popen[bytes]") -> None:
    for number, patience_s in ((signal.SIGTERM, _TOOL_ENDS_S), (signal.SIGKILL, 1.0)):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
            if number == signal.SIGKILL:
                return


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
