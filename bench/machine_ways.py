"""What the ways into dev machines cost, beside programs that everybody knows.

    python -m bench.machine_ways [--mib 1024] [--rounds 5] [--machines 1000] [--parts web,ssh]

The browser's way (web process, relay) beside nginx before the same upstream; the SSH gateway
beside a plain sshd; a control plane with a thousand simulated machines; and what an open connection
of each kind takes of our memory. No Docker engine is needed: the upstream stands in a machine's
place. Needs root, nginx and openssh-server. Sides take turns and medians are told, for the machine
may have other work. Prints one table and, as its last line, one JSON object.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
MACHINE = "127.0.0.3"
"""Where the upstream listens: an address that nothing else of this machine has."""
NUM_SMALL, NUM_IDLE_SOCKETS, NUM_IDLE_SSH = 400, 200, 40


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


@contextmanager
def run(*command: str, port: tuple[str, int] | None = None, **env: str) -> Iterator[psutil.Process]:
    """Run a program, wait until it listens, and end it with the block."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | env, stdout=quiet, stderr=quiet)
    try:
        deadline = time.monotonic() + 60
        while port is not None:
            try:
                socket.create_connection(port, 1).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, command
                time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def write_nginx(folder: Path, name: str, body: str) -> Path:
    path = folder / f"{name}.conf"
    path.write_text(
        f"daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.log; worker_processes 1;"
        "events { worker_connections 4096; } http { access_log off; client_max_body_size 0;"
        f"client_body_temp_path {folder}/b{name}; proxy_temp_path {folder}/p{name};"
        f"proxy_buffering off; proxy_request_buffering off; keepalive_requests 100000; {body} }}"
    )
    return path


def write_sshd(folder: Path, name: str, host: str, port: int, public: bytes) -> list[str]:
    os.makedirs("/run/sshd", exist_ok=True)
    key, keys = folder / f"host-{name}", folder / f"keys-{name}"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    keys.write_bytes(public)
    lines = [f"HostKey {key}", f"AuthorizedKeysFile {keys}", f"ListenAddress {host}:{port}"]
    lines += ["StrictModes no", "UsePAM no", "Subsystem sftp internal-sftp", "MaxSessions 500"]
    lines += ["MaxStartups 500"]
    (folder / f"sshd-{name}").write_text("\n".join(lines) + "\n")
    return ["/usr/sbin/sshd", "-D", "-f", str(folder / f"sshd-{name}")]


def time_download(url: str, host: str, cookie: str) -> float:
    """Return MiB per second of one large answer."""
    return _curl(url, host, cookie, "%{speed_download}") / 2**20


def _curl(url: str, host: str, cookie: str, what: str, *more: str) -> float:
    done = subprocess.run(
        ["curl", "-sS", "-f", "-o", "/dev/null", "-w", what, "-H", f"Host: {host}",
         "-H", f"Cookie: {cookie}", "-H", "Expect:", *more, url],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout)


def time_small(port: int, host: str, cookie: str) -> list[float]:
    """Return the milliseconds of small requests, one after the other on one connection."""
    head = f"GET /small HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n".encode()
    took = []
    with socket.create_connection(("127.0.0.1", port)) as opened:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(NUM_SMALL):
            begun = time.perf_counter()
            opened.sendall(head)
            answer = b""
            while b"\r\n\r\n" not in answer or len(answer.partition(b"\r\n\r\n")[2]) < 1024:
                answer += opened.recv(65536)
            took.append(1000 * (time.perf_counter() - begun))
    return took


def time_scp(folder: Path, port: int, user: str, path: Path) -> float:
    """Return MiB per second of one file sent by scp and thrown away there."""
    begun = time.perf_counter()
    subprocess.run(
        ["scp", "-q", *ssh_options(folder), "-P", str(port), str(path),
         f"{user}@127.0.0.1:{folder}/copy"], check=True,
    )  # fmt: skip
    return path.stat().st_size / 2**20 / (time.perf_counter() - begun)


def ssh_options(folder: Path) -> list[str]:
    options = ["StrictHostKeyChecking=no", f"UserKnownHostsFile={folder}/known", "BatchMode=yes"]
    options += ["IdentitiesOnly=yes", "LogLevel=ERROR"]
    return ["-F", "/dev/null", "-i", str(folder / "key")] + [w for o in options for w in ("-o", o)]


def interleave(rounds: int, ways: dict[str, Callable[[], Any]]) -> dict[str, list[Any]]:
    """Return what each way gave in each round, one after the other within a round."""
    got: dict[str, list[Any]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            got[name].append(way())
    return got


def medians(got: dict[str, list[float]]) -> dict[str, float]:
    return {name: round(statistics.median(values), 2) for name, values in got.items()}


def start_django(folder: Path) -> None:
    """Make a studio's data, for this process and those that it starts."""
    os.environ |= {
        "STUDIO_DATA_DIR": str(folder / "data"), "STUDIO_SECRET_KEY": "bench",
        "DJANGO_SETTINGS_MODULE": "studio.settings", "STUDIO_LOG_LEVEL": "WARNING",
        "STUDIO_REDIS_URL": f"unix://{folder}/redis.sock", "STUDIO_SSH_PORT": str(free_port()),
    }  # fmt: skip
    (folder / "data" / "static").mkdir(parents=True)
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def make_owner() -> Any:
    from django.utils import timezone

    from studio.machines.models import Image, NodeEngine
    from studio.points.services import grant_points
    from tests.factories import make_node, make_user

    owner = make_user("ada")
    grant_points(by=None, to=owner, mpoints=10**12, note="", key="bench")
    Image.objects.create(name="base", title="Base", reference="sha256:abc", tools={"vscode": 8080})
    node = make_node("n1", cores=10**6, memory_gib=10**6)
    NodeEngine.objects.create(
        node=node, version="26", relay_host="127.0.0.1", reported_at=timezone.now()
    )
    return owner, node


def measure_web(stack: ExitStack, folder: Path, machine: Any, options: Any) -> dict[str, Any]:
    """Return throughput and time of the proxy and of nginx before one upstream."""
    from studio.machines.models import NodeEngine
    from studio.machines.web.cookies import cookie_name
    from studio.machines.web.origins import Origin
    from studio.machines.web.passes import make_cookie

    up, beside, web, relay = free_port(MACHINE), free_port(), free_port(), free_port()
    (folder / "www").mkdir()
    with (folder / "www" / "large").open("wb") as large:
        large.truncate(options.mib * 2**20)
    (folder / "www" / "small").write_bytes(b"x" * 1024)
    serve = f"server {{ listen {MACHINE}:{up}; root {folder}/www; }}"
    way = f"upstream u {{ server {MACHINE}:{up}; keepalive 16; }} server {{ listen "
    way += f"127.0.0.1:{beside}; location / {{ proxy_http_version 1.1; "
    way += 'proxy_set_header Connection ""; proxy_pass http://u; } }'
    for name, body, port in [("up", serve, (MACHINE, up)), ("way", way, ("127.0.0.1", beside))]:
        path = write_nginx(folder, name, body)
        stack.enter_context(run("nginx", "-c", str(path), port=port))
    relayed = stack.enter_context(
        run(sys.executable, "-m", "bench.machine_ways", "--relay", str(relay), machine.key,
            machine.node.token_hash, port=("127.0.0.1", relay))
    )  # fmt: skip
    NodeEngine.objects.update(relay_port=relay)
    served = stack.enter_context(
        run(sys.executable, "-m", "studio.up.web", "--port", str(web), port=("127.0.0.1", web))
    )
    host = f"{up}-{machine.key}.localhost"
    cookie = f"{cookie_name()}={make_cookie(machine.owner, Origin(machine.key, up))}"
    ports = {"athanor": web, "nginx": beside}
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    down = interleave(options.rounds, {
        name: lambda url=url: time_download(f"{url}/large", host, cookie)
        for name, url in urls.items()
    })  # fmt: skip
    small = interleave(options.rounds, {
        name: lambda port=port: time_small(port, host, cookie) for name, port in ports.items()
    })  # fmt: skip
    merged = {name: sorted(t for each in rounds for t in each) for name, rounds in small.items()}
    told: dict[str, Any] = {"download_mib_per_s": medians(down)}
    told["small_p50_ms"] = medians(merged)
    told["small_p95_ms"] = {n: round(t[int(0.95 * len(t))], 2) for n, t in merged.items()}
    told["memory"] = measure_idle_sockets(served, relayed, web, host, cookie)
    return told


def measure_idle_sockets(
    served: psutil.Process, relayed: psutil.Process, port: int, host: str, cookie: str
) -> dict[str, float]:
    """Return KiB for each connection that has been answered and is kept."""

    def rss() -> list[int]:
        return [process.memory_info().rss for process in (served, relayed)]

    head = f"GET /large HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n".encode()
    before, opened = rss(), []
    for _ in range(NUM_IDLE_SOCKETS):
        each = socket.socket()
        each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        each.connect(("127.0.0.1", port))
        each.sendall(head)
        each.recv(1)
        opened.append(each)
    time.sleep(2)
    after = rss()
    for each in opened:
        each.close()
    kib = [(b - a) / 1024 / NUM_IDLE_SOCKETS for a, b in zip(before, after, strict=True)]
    return {"web_kib_per_stalled_answer": round(kib[0]), "relay_kib": round(kib[1])}


def measure_ssh(stack: ExitStack, folder: Path, machine: Any, options: Any) -> dict[str, Any]:
    """Return throughput of scp through the gateway and to a plain sshd."""
    from django.conf import settings

    from studio.accounts.ssh_keys import add_ssh_key
    from studio.machines.ssh.host_keys import read_gateway_key

    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], check=True
    )
    public = (folder / "key.pub").read_text()
    add_ssh_key(user=machine.owner, public_key=public)
    plain = free_port()
    inner = write_sshd(folder, "in", MACHINE, 22, read_gateway_key().export_public_key())
    stack.enter_context(run(*inner, port=(MACHINE, 22)))
    outer = write_sshd(folder, "plain", "127.0.0.1", plain, public.encode())
    stack.enter_context(run(*outer, port=("127.0.0.1", plain)))
    port = settings.SSH_PORT
    gateway = stack.enter_context(
        run(sys.executable, "-m", "django", "ssh_gateway", port=("127.0.0.1", port))
    )
    at = folder / "www" / "large"
    speed = interleave(options.rounds, {
        "athanor": lambda: time_scp(folder, port, machine.name, at),
        "sshd": lambda: time_scp(folder, plain, "root", at),
    })  # fmt: skip
    before, held = gateway.memory_info().rss, []
    for _ in range(NUM_IDLE_SSH):
        held.append(subprocess.Popen(
            ["ssh", *ssh_options(folder), "-p", str(port), f"{machine.name}@127.0.0.1",
             "echo; sleep 600"], stdout=subprocess.PIPE,
        ))  # fmt: skip
    for each in held:
        each.stdout.readline()
    kib = (gateway.memory_info().rss - before) / 1024 / NUM_IDLE_SSH
    for each in held:
        each.kill()
    return {"scp_mib_per_s": medians(speed), "gateway_kib_per_idle_session": round(kib)}


def measure_control(node: Any, options: Any) -> dict[str, Any]:
    """Return what a thousand machines of fifty people ask of the studio."""
    from django.db.models import F
    from django.test import Client
    from django.utils import timezone

    from studio.compute.services import make_node_token
    from studio.machines.charging import WRITTEN_EVERY_S, charge_leases
    from studio.machines.models import Lease, Machine
    from workers.machines.orders import MachinePhase, MachineReport, MachineState

    client, owners = Client(SERVER_NAME="127.0.0.1"), fill(options.machines)
    placed = time_placing(node, options.machines)
    token = make_node_token(name=node.name)
    keys = dict(Machine.objects.values_list("key", "start"))

    def report() -> float:
        states = [
            MachineState(machine=key, life=1, start=start, phase=MachinePhase.RUNNING)
            for key, start in keys.items()
        ]
        body = MachineReport(engine="26", machines=states, relay_host="h", relay_port=1)
        begun = time.perf_counter()
        told = client.generic(
            "POST", "/api/internal/nodes/machines/", body.model_dump_json(),
            content_type="application/json", HTTP_AUTHORIZATION=f"Bearer {token}",
        )  # fmt: skip
        assert told.status_code == 200, told.content
        return time.perf_counter() - begun

    first = report()
    began, passes = timezone.now(), []
    while (timezone.now() - began).total_seconds() < options.seconds:
        passes.append(report())
        time.sleep(max(0.0, 1 - passes[-1]))
    lasted_s = (timezone.now() - began).total_seconds()
    used = list(Lease.objects.filter(machine__key__in=keys).values_list("used_s", flat=True))
    asked = ask_lists(owners)
    # As if each had ten minutes that no charge is written for.
    Lease.objects.filter(machine__key__in=keys).update(used_s=F("used_s") + WRITTEN_EVERY_S)
    return {
        "machines": len(keys), "place_all_s": round(placed, 2), "first_report_s": round(first, 2),
        "report_p50_s": round(statistics.median(passes), 2),
        "report_max_s": round(max(passes), 2),
        "metering_lasted_s": round(lasted_s, 1),
        "metering_used_s": [round(min(used), 1), round(max(used), 1)],
        "charge_all_s": round(timed(charge_leases), 2), **asked,
    }  # fmt: skip


def time_placing(node: Any, number: int) -> float:
    from django.utils import timezone

    from studio.compute.models import Node
    from studio.machines.models import NodeEngine
    from studio.machines.placing import place_machines

    now = timezone.now()  # making so many took longer than a node may be silent
    NodeEngine.objects.filter(node=node).update(reported_at=now)
    Node.objects.filter(pk=node.pk).update(last_seen_at=now)
    begun = time.perf_counter()
    num_placed = place_machines()
    assert num_placed == number, f"{num_placed} of {number} were placed"
    return time.perf_counter() - begun


def fill(number: int) -> list[Any]:
    from studio.machines.services import Wish, create_machine
    from studio.points.services import grant_points
    from tests.factories import make_user

    owners = [make_user(f"u{each}") for each in range(-(-number // 20))]
    for owner in owners:
        grant_points(by=None, to=owner, mpoints=10**10, note="", key=f"g{owner.pk}")
    for each in range(number):
        wish = Wish(name=f"m{each}", image="base", flavor="cpu-1", duration_s=36_000)
        create_machine(owner=owners[each // 20], wish=wish)
    return owners


def ask_lists(owners: list[Any]) -> dict[str, float]:
    """Return how long a person's list of twenty and an operator's of all take."""
    from django.test import Client

    from tests.factories import make_user

    def sign_in(user: Any) -> Client:
        browser = Client(SERVER_NAME="127.0.0.1")
        browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return browser

    browsers = [sign_in(owner) for owner in owners[:20]]

    def ask(browser: Client, path: str) -> float:
        begun = time.perf_counter()
        assert browser.get(path).status_code == 200, path
        return time.perf_counter() - begun

    mine = sorted(ask(each, "/api/machines/") for each in browsers for _ in range(10))
    olga = sign_in(make_user("olga", role="operator"))
    every = sorted(ask(olga, "/api/machines/?all=1") for _ in range(5))
    return {
        "list_of_20_p50_ms": round(1000 * statistics.median(mine), 1),
        "list_of_20_p95_ms": round(1000 * mine[int(0.95 * len(mine))], 1),
        "list_of_all_p50_ms": round(1000 * statistics.median(every), 1),
    }


def timed(what: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def run_relay(port: int, key: str, token_hash: str) -> None:
    """Run a node's relay, until killed, before one machine."""
    import asyncio

    from workers.machines.relay import Relay

    async def live() -> None:
        await Relay(token_hash, {key: MACHINE}.get).open("127.0.0.1", port)
        await asyncio.Event().wait()

    asyncio.run(live())


def show(told: dict[str, Any]) -> None:
    table = Table("what", "figure")
    for part, figures in told.items():
        for name, value in figures.items():
            table.add_row(f"{part}: {name}", json.dumps(value))
    Console().print(table)
    print(json.dumps(told))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--machines", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=60, help="of reports, for the drift")
    parser.add_argument("--parts", default="web,ssh,control", help="what to measure, by comma")
    parser.add_argument("--relay", nargs=3, metavar=("PORT", "KEY", "HASH"), help="inner use")
    options = parser.parse_args()
    if options.relay:
        run_relay(int(options.relay[0]), *options.relay[1:])
        return
    folder = Path(tempfile.mkdtemp(prefix="athanor-bench-"))
    folder.chmod(0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        start_django(folder)
        at = folder / "redis.sock"
        redis = stack.enter_context(
            run("redis-server", "--port", "0", "--unixsocket", str(at), "--save", "")
        )
        while not at.exists():
            assert redis.status() != psutil.STATUS_ZOMBIE, "redis-server ended at once"
            time.sleep(0.05)
        from tests.studio.machines.conftest import make_running

        owner, node = make_owner()
        machine = make_running(owner, node)
        machine.node = node
        parts = {
            "web": lambda: measure_web(stack, folder, machine, options),
            "ssh": lambda: measure_ssh(stack, folder, machine, options),
            "control": lambda: measure_control(node, options),
        }
        told = {}
        for part in options.parts.split(","):
            told[part] = parts[part]()
            print(part, json.dumps(told[part]), file=sys.stderr, flush=True)
        show(told)


if __name__ == "__main__":
    main()
