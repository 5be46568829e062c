"""How long `athanor env clone` takes beside other ways to have an environment of one's own.

    python -m bench.env_clone [--files 60000] [--gib 5] [--rounds 3] [--folder /var/tmp]

Makes an environment with the sizes of files that one with PyTorch has, publishes it as an operator
does, and clones it: by the command, by its `--full`, by `cp -a`, and by `conda create --clone`
where there is conda. All of it lies in the memory that the kernel keeps of files, for all alike.
Processor time is told beside the clock's: it is the same whatever else the machine does. Prints one
table and, as its last line, one JSON object, and leaves nothing behind.
"""

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from workers.environments.store import EnvironmentStore

_NAME = "bench"
_KIB, _MIB = 2**10, 2**20
# Of site-packages with PyTorch for CUDA: nearly all files are small, nearly all bytes are in few.
_SHARE_OF_MIDDLE, _SHARE_OF_LARGE = 0.05, 0.002
_SMALL_BYTES, _MIDDLE_BYTES = (1 * _KIB, 24 * _KIB), (64 * _KIB, 512 * _KIB)
_FILES_OF_A_PACKAGE = 150
_STOCK_BYTES = 64 * _MIB


def make_tree(tree: Path, num_files: int, num_bytes: int) -> None:
    """Make an environment that runs, with so many files beside Python's own and so many bytes."""
    subprocess.run([sys.executable, "-m", "venv", str(tree)], check=True)
    (packages,) = tree.glob("lib/python*/site-packages")
    chance = random.Random(5)
    num_middle, num_large = int(num_files * _SHARE_OF_MIDDLE), int(num_files * _SHARE_OF_LARGE)
    sizes = [chance.randint(*_SMALL_BYTES) for _ in range(num_files - num_middle - num_large)]
    sizes += [chance.randint(*_MIDDLE_BYTES) for _ in range(num_middle)]
    rest = num_bytes - sum(sizes)
    assert rest > 0, "so many files are larger than that"
    sizes += [rest // num_large] * num_large
    chance.shuffle(sizes)
    stock = chance.randbytes(_STOCK_BYTES)
    for number, size in enumerate(sizes):
        folder = packages / f"package{number // _FILES_OF_A_PACKAGE}"
        if number % _FILES_OF_A_PACKAGE == 0:
            folder.mkdir()
            (folder / "__init__.py").write_text("")
        write(folder / f"part{number}.bin", size, stock, chance)


def write(path: Path, size: int, stock: bytes, chance: random.Random) -> None:
    """Write a file that holds no hole: pieces of a stock of chance, from anywhere in it."""
    with path.open("wb") as file:
        while size > 0:
            piece = min(size, len(stock) // 2)
            start = chance.randrange(len(stock) - piece)
            file.write(stock[start : start + piece])
            size -= piece


def time_way(command: list[str], target: Path, env: dict[str, str]) -> tuple[float, float]:
    """Return what one command that makes `target` took, by the clock and of processors, in
    seconds; remove what it made.
    """
    begun, spent = time.perf_counter(), count_cpu()
    subprocess.run(command, env=env, check=True, capture_output=True)
    took_s, cpu_s = time.perf_counter() - begun, count_cpu() - spent
    python = target / "bin" / "python"
    subprocess.run([str(python), "-c", "import package0"], check=True)
    shutil.rmtree(target)
    os.sync()  # what one has left to write does not slow the next
    return round(took_s, 2), round(cpu_s, 2)


def count_cpu() -> float:
    """Return the processor time of all commands that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def list_ways(shown: Path, source: Path, target: Path) -> dict[str, list[str]]:
    """Return the commands, each of which makes an environment at `target`."""
    clone = [sys.executable, "-m", "clients.command", "env", "clone", _NAME, str(target), "--json"]
    ways = {
        "athanor env clone": clone,
        "athanor env clone --full": [*clone, "--full"],
        "cp -a": ["cp", "-a", str(source), str(target)],
    }
    if conda := shutil.which("conda"):
        ways["conda create --clone"] = [conda, "create", "--yes", "--offline", "--clone"]
        ways["conda create --clone"] += [str(source), "--prefix", str(target)]
    return ways


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=60_000)
    parser.add_argument("--gib", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="on which disk")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="athanor-clone-", dir=options.folder))
    try:
        told = measure(folder, options)
    finally:
        shutil.rmtree(folder)
    table = Table("an environment of one's own by", "p50, s", "of processors, s", "each time, s")
    for name, way in told["ways"].items():
        table.add_row(name, str(way["p50_s"]), str(way["cpu_p50_s"]), str(way["each_s"]))
    Console(width=120).print(table)
    print(json.dumps(told))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the facts of the environment, and what each way took."""
    shown = folder / "envs"
    store = EnvironmentStore(shown, str(shown))
    with store.draft(_NAME) as (version, draft):
        make_tree(draft / "tree", options.files, int(options.gib * 2**30))
        point_at(draft / "tree", store.prefix_of(_NAME, version))
        facts = store.publish(_NAME, version, draft / "tree")
    env = os.environ | {"ATHANOR_ENVS_DIR": str(shown)}
    target = folder / "mine"
    ways = list_ways(shown, Path(facts.prefix), target)
    os.sync()
    took: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, command in ways.items():
            took[name].append(time_way(command, target, env))
    about = {"files": facts.num_files, "bytes": facts.num_bytes, "rounds": options.rounds}
    return about | {"has_conda": "conda create --clone" in ways, "ways": sum_up(took)}


def sum_up(took: dict[str, list[tuple[float, float]]]) -> dict[str, dict[str, object]]:
    """Return of each way the middle of its rounds, and all of them."""
    return {
        name: {
            "p50_s": statistics.median(clock for clock, _ in rounds),
            "cpu_p50_s": statistics.median(cpu for _, cpu in rounds),
            "each_s": [clock for clock, _ in rounds],
        }
        for name, rounds in took.items()
    }


def point_at(tree: Path, prefix: str) -> None:
    """Have an environment be one that was made for `prefix`, as one built there is."""
    for path in [tree / "pyvenv.cfg", *(tree / "bin").iterdir()]:
        if path.is_file() and not path.is_symlink():
            path.write_text(path.read_text().replace(str(tree), prefix))


if __name__ == "__main__":
    main()
