"""Our trainer beside transformers' Trainer and trl's SFTTrainer, on the same data.

    python -m bench.train [--models smollm2,random-30m] [--data FILE] [--rounds 3] [--threads 2]

A model is one of bench/supplies.py or a folder. Ratios of the first one have plain names.

Each arm of each round is a process of its own (bench/train_arms.py), so that its peak memory is its
own; arms take turns. A ratio counts only where both arms took the same tokens and targets in every
step and end with held-out losses that are close; else it is null, and `unlike` says why. Prints one
table and, as its last line, one JSON object with `ratios`, and the same `by_cpu_time`: where other
work runs on the machine, those are steadier.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.supplies import MODELS, write_mix

ARMS = (
    *("lora", "lora-compiled", "lora-trainer", "lora-trainer-bf16", "lora-trl"),
    *("full", "full-trainer"),
)
RATIOS: dict[str, tuple[str, ...]] = {
    "lora_vs_trainer": ("tokens_per_s", "lora", "lora-trainer"),
    "lora_compiled_vs_trainer": ("tokens_per_s", "lora-compiled", "lora-trainer"),
    "lora_vs_trainer_bf16": ("tokens_per_s", "lora", "lora-trainer-bf16"),
    "lora_vs_trl": ("tokens_per_s", "lora", "lora-trl"),
    "full_vs_trainer": ("tokens_per_s", "full", "full-trainer"),
    "memory_vs_trainer": ("peak_gib", "lora", "lora-trainer"),
    "full_memory_vs_trainer": ("peak_gib", "full", "full-trainer"),
}
SPEEDS = ("tokens_per_s", "tokens_per_cpu_s")
_LIKE = 0.03
"""How far held-out losses of two arms may lie apart, as a share of the peer's. All learn the same
targets from the same start; bfloat16 rounds to a 256th, a peer in float32 does not, and AdamW's
first updates turn small gradients of either sign into whole steps."""
Told = dict[str, Any]
Measured = dict[tuple[str, str], list[Told]]


def main() -> None:
    options = parse_options()
    data = options.data or write_mix()
    folders = {name: MODELS[name]() if name in MODELS else Path(name) for name in options.models}
    turns = [(model, arm) for model in folders for arm in ARMS if arm in options.arms]
    found: Measured = {turn: [] for turn in turns}
    for number in range(options.rounds):
        for model, arm in turns if number % 2 == 0 else reversed(turns):
            told = run_arm(arm, folders[model], data, options)
            found[model, arm].append(told)
            speed = ", ".join(f"{name} {told[name]:.1f}" for name in SPEEDS)
            print(f"round {number + 1}: {model} {arm} {speed}", file=sys.stderr, flush=True)
    report(found, options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(MODELS), help="names or folders, by comma")
    parser.add_argument("--data", type=Path, help="conversations in JSONL (default: a mix)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, each arm once")
    parser.add_argument("--epochs", type=float, default=0.06, help="length of a round")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    parser.add_argument("--arms", default=",".join(ARMS), help="which, by comma")
    options = parser.parse_args()
    options.models, options.arms = options.models.split(","), options.arms.split(",")
    return options


def run_arm(arm: str, model: Path, data: Path, options: argparse.Namespace) -> Told:
    """Run one arm in a process of its own; its last line is what it measured."""
    wanted = [arm, str(model), str(data), str(options.epochs), str(options.threads)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.train_arms", *wanted], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{arm} failed:\n{done.stderr[-3000:]}")
    told: Told = json.loads(done.stdout.splitlines()[-1])
    return told


def report(found: Measured, options: argparse.Namespace) -> None:
    names = (*SPEEDS, "supervised_tokens_per_s", "peak_gib", "eval_loss")
    table = Table(title=f"{options.rounds} rounds, medians (lowest to highest)")
    for column in ("", *names):
        table.add_column(column, justify="right" if column else "left")
    for turn, rounds in found.items():
        cells = [word_range([told[name] for told in rounds]) for name in names]
        table.add_row(" ".join(turn), *cells)
    Console(width=150).print(table)
    unlike: dict[str, str] = {}
    told: Told = {"ratios": compare_all(found, options.models, RATIOS, unlike)}
    by_cpu = {
        ratio: ("tokens_per_cpu_s", *arms)
        for ratio, (name, *arms) in RATIOS.items()
        if name == "tokens_per_s"
    }
    told["ratios_by_cpu_time"] = compare_all(found, options.models, by_cpu, unlike)
    versions = list_versions() | {"threads": str(options.threads)}
    print(json.dumps(told | {"unlike": unlike, "versions": versions}))


def compare_all(
    found: Measured,
    models: list[str],
    wanted: dict[str, tuple[str, ...]],
    unlike: dict[str, str],
) -> dict[str, float | None]:
    """Return the ratios of all models; those of the first have plain names."""
    ratios: dict[str, float | None] = {}
    for model in models:
        behind = "" if model == models[0] else "_" + Path(model).name.replace("-", "_")
        for ratio, (name, *arms) in wanted.items():
            if any((model, arm) not in found for arm in arms):
                continue
            ours, theirs = (found[model, arm] for arm in arms)
            why = tell_unlike(ours, theirs)
            if why:
                unlike[ratio + behind] = why
            value = median(ours, name) / median(theirs, name)
            ratios[ratio + behind] = None if why else round(value, 3)
    return ratios


def tell_unlike(ours: list[Told], theirs: list[Told]) -> str:
    """Say what shows that two arms did not do the same; nothing where they did."""
    for name in ("step_tokens", "step_supervised"):
        if len({tuple(told[name]) for told in ours + theirs}) > 1:
            return f"{name}: {ours[0][name]} beside {theirs[0][name]}"
    losses = median(ours, "eval_loss"), median(theirs, "eval_loss")
    if not abs(losses[0] - losses[1]) <= _LIKE * losses[1]:  # nan is like nothing
        return f"eval_loss: {losses[0]:.4f} beside {losses[1]:.4f}"
    return ""


def median(rounds: list[Told], name: str) -> float:
    return statistics.median(told[name] for told in rounds)


def word_range(values: list[float]) -> str:
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def list_versions() -> dict[str, str]:
    names = ("torch", "transformers", "peft", "trl", "liger_kernel", "flash_attn")
    told = {each: version(each) for each in names if _is_here(each)}
    return told | {"machine": platform.machine()}


def _is_here(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    main()
