"""Our server engine beside the engines that people run on a processor, with the same weights.

    python -m bench.serve [--arms ours-int4,llama-cpp] [--threads 1,2] [--rounds 3] [--peers PYTHON]

Each arm of each round is a process of its own (bench/serve_arms.py); arms take turns. Peers need
packages of their own: `--peers` names the Python of an environment that has them, and arms whose
package is missing are left out and named. First comes the gate: of the tokens that transformers
writes greedily in float32, the share that an arm writes too, given all that stands before each; an
arm below 0.85 does not count. Prints tables and, as its last line, one JSON object
with `ratios`.

Decoding is the time of 64 more tokens after the first, taken as a difference of two calls, since
not every engine tells when its first token came.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.supplies import import_smollm2

OURS = ("ours-gguf", "ours-int4", "ours-int8", "ours-bf16")
PEERS = ("transformers", "generate-batch", "llama-cpp", "ctranslate2", "openvino")
ARMS = (*OURS, *PEERS)
SERVERS = ("ours-gguf", "ours-bf16", "transformers-serve")
TASKS = ("prefill", "decode1", "decode8", "decode16")
_LEAST_AGREEMENT = 0.85
"""Below which an arm's speed does not count."""
Found = dict[tuple[str, int], list[dict[str, float]]]


def main() -> None:
    options = parse_options()
    model = import_smollm2()
    gates = run_gates(options, model)
    arms = [arm for arm in options.arms if arm in gates]
    turns = [(arm, threads) for threads in options.threads for arm in arms]
    found: Found = {turn: [] for turn in turns}
    for number in range(options.rounds):
        for arm, threads in turns if number % 2 == 0 else reversed(turns):
            told = run_arm(arm, "speed", threads, model, options)
            if told is None:
                continue
            found[arm, threads].append(told)
            print(f"round {number + 1}: {arm} {threads} {json.dumps(told)}", file=sys.stderr)
    served = run_served(options, model)
    report(gates, found, served, options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arms", default=",".join(ARMS), help="which, by comma")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, by comma")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, each arm once")
    parser.add_argument("--peers", default=os.environ.get("ATHANOR_PEERS"), metavar="PYTHON")
    parser.add_argument("--no-served", action="store_true", help="leave out the served load")
    options = parser.parse_args()
    options.arms = options.arms.split(",")
    options.threads = [int(each) for each in options.threads.split(",")]
    return options


def run_gates(options: argparse.Namespace, model: Path) -> dict[str, float]:
    """Return each arm's share of tokens that equal those of float32."""
    reference = run_arm("transformers-fp32", "greedy", 2, model, options)
    assert reference is not None, "the reference cannot run"
    gates: dict[str, float] = {}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(reference, file)
        file.flush()
        for arm in options.arms:
            told = run_arm(arm, f"agree={file.name}", 2, model, options)
            if told is not None:
                gates[arm] = told["agreement"]
                print(f"gate: {arm} {gates[arm]:.3f}", file=sys.stderr, flush=True)
    return gates


def run_arm(
    arm: str, task: str, threads: int, model: Path, options: argparse.Namespace
) -> dict | None:
    """Run one arm in a process of its own; None where its package is missing."""
    is_peer = arm in PEERS[2:]
    python = options.peers if is_peer else sys.executable
    if python is None:
        return None
    done = subprocess.run(
        [python, "-m", "bench.serve_arms", arm, task, str(threads), str(model)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"},
    )
    if done.returncode:
        print(f"{arm} {task} failed:\n{done.stderr[-1500:]}", file=sys.stderr, flush=True)
        return None
    told: dict = json.loads(done.stdout.splitlines()[-1])
    return told


def run_served(options: argparse.Namespace, model: Path) -> dict[str, float]:
    """Return output tokens a second of 16 clients over HTTP by server, and what their first tokens
    took: the median, and what 19 of 20 stay below, in seconds. Servers take turns.
    """
    if options.no_served:
        return {}
    from bench.serve_load import Load, measure_adapters, measure_server

    loads: dict[str, list[Load]] = {}
    for number in range(options.rounds):
        for server in SERVERS if number % 2 == 0 else reversed(SERVERS):
            if (told := measure_server(server, model)) is not None:
                loads.setdefault(server, []).append(told)
    served: dict[str, float] = {}
    for server, rounds in loads.items():
        waits = [wait for told in rounds for wait in told.first_token_s]
        served[server] = statistics.median(told.tokens_per_s for told in rounds)
        served[f"{server} first token p50"] = statistics.median(waits)
        served[f"{server} first token p95"] = statistics.quantiles(waits, n=20)[-1]
    return served | measure_adapters(model, rounds=options.rounds)


def report(
    gates: dict[str, float], found: Found, served: dict[str, float], options: argparse.Namespace
) -> None:
    console = Console(width=150)
    table = Table(title="Tokens a second, medians (lowest to highest)")
    for column in ("arm", "threads", "gate", *TASKS):
        table.add_column(column, justify="right" if column != "arm" else "left")
    for (arm, threads), rounds in found.items():
        if rounds:
            cells = [word_range([told[task] for told in rounds]) for task in TASKS]
            table.add_row(arm, str(threads), f"{gates[arm]:.3f}", *cells)
    console.print(table)
    for name, value in served.items():
        console.print(f"served: {name} {value:.4g}")
    ratios = {}
    for threads in options.threads:
        end = "" if threads == options.threads[0] else f"_threads{threads}"
        ratios |= {f"{name}{end}": ratio for name, ratio in compare(gates, found, threads).items()}
    if served.get("transformers-serve"):
        ours = max(served.get("ours-gguf", 0.0), served.get("ours-bf16", 0.0))
        ratios["served16_vs_transformers_serve"] = round(ours / served["transformers-serve"], 3)
        ours, theirs = (
            served[f"{server} first token p95"] for server in ("ours-gguf", "transformers-serve")
        )
        ratios["first_token_p95_vs_transformers_serve"] = round(ours / theirs, 3)
    if "adapters100" in served:
        ratios["adapters100_vs_one"] = round(served["adapters100"] / served["adapters1"], 3)
    told = {"cpu": find_cpu(), "machine": platform.machine(), "rounds": options.rounds}
    print(json.dumps({"ratios": ratios, "gates": gates, "where": told}))


def compare(gates: dict[str, float], found: Found, threads: int) -> dict[str, float]:
    """Return our best arm over the best peer for each task, of arms whose gate is passed."""
    medians = {
        arm: {task: statistics.median(told[task] for told in rounds) for task in TASKS}
        for (arm, number), rounds in found.items()
        if number == threads and rounds and is_good(arm, gates)
    }
    ours = {arm: told for arm, told in medians.items() if arm in OURS}
    peers = {arm: told for arm, told in medians.items() if arm in PEERS}
    if not ours or not peers:
        return {}
    ratios = {}
    for task in TASKS:
        best = max(told[task] for told in ours.values())
        ratios[f"{task}_vs_best"] = round(best / max(told[task] for told in peers.values()), 3)
    if "generate-batch" in peers:
        best = max(told["decode16"] for told in ours.values())
        ratios["decode16_vs_generate_batch"] = round(best / peers["generate-batch"]["decode16"], 3)
    return ratios


def is_good(arm: str, gates: dict[str, float]) -> bool:
    return gates.get(arm, 0.0) >= _LEAST_AGREEMENT


def word_range(values: list[float]) -> str:
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def find_cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")


if __name__ == "__main__":
    main()
