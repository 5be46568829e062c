"""Our server engine beside others on one GPU: tokens a second of 1, 64 and 256 streams.

    python -m bench.serve_gpu [--sizes 1.8b,7b] [--arms ...] [--rounds 3] [--lmdeploy PYTHON]

The models have the published shapes of InternLM2 1.8B and 7B and random weights, which take as
long as others. Ours run them in bf16, in fp8 and in AWQ's 4 bits.
LMDeploy's PyTorch engine (by the Python of its own environment) and transformers' `generate_batch`
run a twin in Llama's layout, with the same numbers: both open InternLM2 only with code that comes
with a model, and a folder of ours has none.

Each arm of each round is a process of its own (bench/serve_gpu_arms.py), and arms take turns. A
step is timed as the difference of a long and a short answer to prompts of one length. Beside each
figure stand the bytes that its steps read (weights, and keys and values of all streams) and the
operations that they do, a second: what the GPU could do is its maker's to say, and `--peak-gb-s`
and `--peak-tflops` turn them into shares. The last line is one JSON object. `--tiny` tries all of
it on a processor, in some minutes; its figures mean nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.random_models import Costs, count_costs, make_folder
from bench.serve_gpu_arms import Load
from bench.supplies import FOLDER

ARMS = {
    "ours-bf16": "internlm2",
    "ours-fp8": "internlm2",
    "ours-int4": "internlm2-awq",
    "lmdeploy": "llama",
    "generate-batch": "llama",
}
"""Which layout each arm runs."""
_LOAD = Load(streams=(1, 64, 256), num_prompt=896, num_tokens=128)  # about 1k of context each
_TINY = Load(streams=(1, 3), num_prompt=12, num_tokens=6, is_cpu=True)
Turn = tuple[str, str]  # size and arm


@dataclass(frozen=True)
class Figure:
    """One arm with a number of streams."""

    size: str
    arm: str
    streams: int
    tokens_per_s: float
    """The median of all rounds."""
    least: float
    most: float
    gb_per_s: float
    tflops: float


def main(given: Sequence[str] | None = None) -> None:
    options = parse_options(given)
    load = _TINY if options.tiny else _LOAD
    turns = [(size, arm) for size in options.sizes for arm in options.arms]
    found: dict[Turn, list[dict[int, float]]] = {}
    left_out: dict[str, str] = {}
    device = ""
    for number in range(options.rounds):
        for size, arm in turns if number % 2 == 0 else reversed(turns):
            told = run_arm(size, arm, load, options)
            if isinstance(told, str):
                left_out[f"{size} {arm}"] = told
                print(f"{size} {arm} is left out: {told}", file=sys.stderr, flush=True)
                continue
            device = told["device"]
            steps = {int(streams): step_s for streams, step_s in told["step_s"].items()}
            found.setdefault((size, arm), []).append(steps)
            print(f"round {number + 1}: {size} {arm} {steps}", file=sys.stderr, flush=True)
    figures = [
        make_figure(turn, streams, [steps[streams] for steps in found[turn]], load, options)
        for turn in turns
        if turn in found
        for streams in load.streams
    ]
    report(figures, options)
    where = {"device": device, "rounds": options.rounds, "load": asdict(load)}
    told = {"figures": [asdict(figure) for figure in figures], "left_out": left_out}
    print(json.dumps(told | {"where": where}))


def parse_options(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", help="which models, by comma (default: 1.8b,7b)")
    parser.add_argument("--arms", default=",".join(ARMS), help="which, by comma")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, each arm once")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where models are kept")
    parser.add_argument(
        "--lmdeploy",
        default=os.environ.get("ATHANOR_LMDEPLOY_PYTHON"),
        metavar="PYTHON",
        help="the Python of LMDeploy's environment; without it that arm is left out",
    )
    parser.add_argument("--peak-gb-s", type=float, help="what the GPU's memory gives a second")
    parser.add_argument("--peak-tflops", type=float, help="what the GPU computes a second in bf16")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape, on the processor")
    options = parser.parse_args(given)
    options.sizes = (options.sizes or ("tiny" if options.tiny else "1.8b,7b")).split(",")
    options.arms = options.arms.split(",")
    return options


def run_arm(size: str, arm: str, load: Load, options: argparse.Namespace) -> dict | str:
    """Run one arm in a process of its own; return what it measured, or why it could not."""
    python = options.lmdeploy if arm == "lmdeploy" else sys.executable
    if python is None:
        return "its Python is not named (--lmdeploy)"
    folder = make_folder(options.folder, size, ARMS[arm])
    done = subprocess.run(
        [python, "-m", "bench.serve_gpu_arms", arm, str(folder), json.dumps(asdict(load))],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr, flush=True)
        return (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    told: dict = json.loads(done.stdout.splitlines()[-1])
    return told


def make_figure(
    turn: Turn, streams: int, steps_s: list[float], load: Load, options: argparse.Namespace
) -> Figure:
    size, arm = turn
    folder = make_folder(options.folder, size, ARMS[arm])
    costs = count_costs(folder, size, is_fp8=arm == "ours-fp8")
    speeds = [streams / step_s for step_s in steps_s]
    step_s = streams / statistics.median(speeds)
    context = load.num_prompt + load.num_tokens / 2  # on the average of its steps
    return Figure(
        size=size,
        arm=arm,
        streams=streams,
        tokens_per_s=round(statistics.median(speeds), 2),
        least=round(min(speeds), 2),
        most=round(max(speeds), 2),
        gb_per_s=count_bytes(costs, streams, context) / step_s / 1e9,
        tflops=count_operations(costs, streams, context) / step_s / 1e12,
    )


def count_bytes(costs: Costs, streams: int, context: float) -> float:
    """Return what a step reads: all weights once, and each stream's keys and values."""
    return costs.weight_bytes + streams * context * costs.kv_bytes_per_token


def count_operations(costs: Costs, streams: int, context: float) -> float:
    """Return the additions and multiplications of a step."""
    return streams * (2 * costs.num_weights + context * costs.attention_per_token)


def report(figures: list[Figure], options: argparse.Namespace) -> None:
    table = Table(title="Output tokens a second, medians (lowest to highest)")
    for column in ("model", "arm", "streams", "tokens/s", "GB/s", "TFLOP/s"):
        table.add_column(column, justify="left" if column in ("model", "arm") else "right")
    for figure in figures:
        table.add_row(
            figure.size,
            figure.arm,
            str(figure.streams),
            f"{figure.tokens_per_s:.4g} ({figure.least:.4g} to {figure.most:.4g})",
            word_share(figure.gb_per_s, options.peak_gb_s),
            word_share(figure.tflops, options.peak_tflops),
        )
    Console(width=130).print(table)


def word_share(value: float, peak: float | None) -> str:
    return f"{value:.4g}" + (f" ({value / peak:.0%})" if peak else "")


if __name__ == "__main__":
    main()
