"""What the hub costs beside a plain web server: 2 GiB there and back, checkpoints, small files.

    python bench/hub.py --url http://127.0.0.1:8600 --token ath_... --hub-dir DATA/hub --work DIR

Runs against a studio that is up, on the same disk as `--work`, and starts an nginx of its own.
Sides take turns; medians of the rounds, and their ratio to nginx. Prints tables and, as the last
line, one JSON object. Needs `nginx` and `curl`.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

MIB = 2**20
_NGINX = """
daemon off; pid {work}/nginx.pid; error_log {work}/nginx.log; worker_processes 2; {user}
events {{}}
http {{ access_log off; sendfile on; client_max_body_size 0;
  client_body_temp_path {work}/body;
  server {{ listen 127.0.0.1:{port}; root {work}/served; location / {{ dav_methods PUT; }} }} }}
"""
_PUSH = """
import sys, time
from huggingface_hub import HfApi
api = HfApi(); api.create_repo(sys.argv[1], exist_ok=True)
begun = time.perf_counter()
if sys.argv[3] == "-":
    api.upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2])
else:
    api.upload_file(repo_id=sys.argv[1], path_or_fileobj=sys.argv[2], path_in_repo=sys.argv[3])
print(time.perf_counter() - begun)
"""
_PULL = """
import sys, time
from huggingface_hub import hf_hub_download
begun = time.perf_counter()
hf_hub_download(sys.argv[1], sys.argv[2])
print(time.perf_counter() - begun)
"""


def main() -> None:
    options = read_options()
    options.work.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    found["transfer_mib_per_s"] = measure_transfer(options)
    found["checkpoints"] = measure_checkpoints(options)
    found["small_files"] = measure_small_files(options)
    show(found)
    print(json.dumps(found))


def measure_transfer(options: argparse.Namespace) -> dict[str, float]:
    """MiB/s of one large file of random bytes, by each way."""
    size_mib, spent = options.mib, {}
    source, sink = options.work / "big.bin", options.work / "sink.bin"
    with run_nginx(options.work) as address:
        for number in range(options.rounds):
            repo_id = f"{options.user}/bench-{os.getpid()}-{number}"
            write_random(source, size_mib)
            shutil.copy(source, options.work / "served" / "big.bin")
            ways: dict[str, Callable[[], float]] = {
                "nginx takes (PUT)": lambda: curl("-T", source, f"{address}/put.bin"),
                "Xet up": lambda id=repo_id: client(options, _PUSH, id, source, "big.bin"),
                "nginx gives (GET)": lambda: curl("-o", sink, f"{address}/big.bin"),
                "plain HTTP down": lambda id=repo_id: curl(
                    "-o",
                    sink,
                    "-H",
                    f"Authorization: Bearer {options.token}",
                    f"{options.url}/{id}/resolve/main/big.bin",
                ),
                "Xet down": lambda id=repo_id: client(options, _PULL, id, "big.bin"),
            }
            for name, way in ways.items():
                os.sync()
                spent.setdefault(name, []).append(way())
                sink.unlink(missing_ok=True)
    return {name: size_mib / statistics.median(times) for name, times in spent.items()}


def measure_checkpoints(options: argparse.Namespace) -> dict[str, float]:
    """Space taken by one checkpoint and by ten, of each of which 2 % changed in a row."""
    chance = random.Random(os.getpid())
    weights = bytearray(os.urandom(270 * MIB))
    path, stored = options.work / "model.safetensors", []
    before = count_bytes(options.hub_dir)
    for number in range(10):
        if number:
            changed = len(weights) // 50
            at = chance.randrange(len(weights) - changed)
            weights[at : at + changed] = os.urandom(changed)
        path.write_bytes(weights)
        repo_id = f"{options.user}/bench-{os.getpid()}-checkpoints"
        client(options, _PUSH, repo_id, path, f"step-{number}.safetensors")
        stored.append(count_bytes(options.hub_dir) - before)
    one, ten = stored[0], stored[-1]
    return {"one_mib": one / MIB, "ten_mib": ten / MIB, "ratio": ten / one}


def measure_small_files(options: argparse.Namespace) -> dict[str, float]:
    """Files/s of a folder of 10,000 small files, pushed and simply copied."""
    folder, chance = options.work / "small", random.Random(os.getpid())
    for number in range(10_000):
        path = folder / f"{number % 100:02d}" / f"{number}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(chance.randrange(200, 4000)))
    begun = time.perf_counter()
    shutil.copytree(folder, options.work / "copy")
    copied_s = time.perf_counter() - begun
    pushed_s = client(options, _PUSH, f"{options.user}/bench-{os.getpid()}-small", folder, "-")
    for each in (folder, options.work / "copy"):
        shutil.rmtree(each)
    return {"pushed_per_s": 10_000 / pushed_s, "copied_per_s": 10_000 / copied_s}


def client(options: argparse.Namespace, script: str, *arguments: Any) -> float:
    """Run a script with a client that remembers nothing, and return the seconds it says."""
    home = options.work / "home"
    shutil.rmtree(home, ignore_errors=True)
    env = {
        "PATH": os.environ["PATH"],
        "HF_HOME": str(home),
        "HF_ENDPOINT": options.url,
        "HF_TOKEN": options.token,
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout.split()[-1])


def curl(*arguments: Any) -> float:
    begun = time.perf_counter()
    subprocess.run(["curl", "-sf", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


@contextmanager
def run_nginx(work: Path) -> Any:
    port = 8795
    (work / "served").mkdir(exist_ok=True)
    user = "user root;" if os.geteuid() == 0 else ""
    (work / "nginx.conf").write_text(_NGINX.format(work=work, port=port, user=user))
    server = subprocess.Popen(["nginx", "-c", str(work / "nginx.conf")])
    time.sleep(1)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def write_random(path: Path, size_mib: int) -> None:
    with path.open("wb") as file:
        for _ in range(size_mib):
            file.write(os.urandom(MIB))


def count_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def show(found: dict[str, Any]) -> None:
    speeds = found["transfer_mib_per_s"]
    table = Table("way", "MiB/s", "of nginx")
    for name, speed in speeds.items():
        is_up = "up" in name or "takes" in name
        peer = speeds["nginx takes (PUT)" if is_up else "nginx gives (GET)"]
        table.add_row(name, f"{speed:.0f}", f"{speed / peer:.2f}")
    console = Console()
    console.print(table)
    kept = found["checkpoints"]
    console.print(f"ten checkpoints take {kept['ratio']:.2f} of one ({kept['one_mib']:.0f} MiB)")
    small = found["small_files"]
    console.print(
        f"small files: {small['pushed_per_s']:.0f} pushed a second, "
        f"{small['copied_per_s']:.0f} copied by a plain copy"
    )


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--url", default="http://127.0.0.1:8600")
    parser.add_argument("--token", required=True)
    parser.add_argument("--user", default="admin", help="whose token it is")
    parser.add_argument("--hub-dir", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--mib", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
