"""Our trainer on one GPU, beside transformers' Trainer and trl, and trick by trick.

    python -m bench.train_gpu [--arms ...] [--rounds 3] [--peak-tflops N]

LoRA on 7 billion weights and pretraining of 1.8 billion, in the published shapes of InternLM2 with
random values, which take as long as others. Peers open InternLM2 only with code that comes with a
model: they train a twin in Llama's layout, with the same numbers. So do our arms of LoRA, since
adapters of fused layers would be others; `lora-internlm2` says what the own layout makes of it. A
ladder goes from each sample alone, everything recomputed and peft's own layers, to compiled layers
in fp8, one trick a rung. `qlora` is there for its memory.

Each arm of each round is a process of its own (bench/train_gpu_arms.py), and arms take turns. A
ratio counts only where both arms took the same tokens and targets in every step, and where their
held-out losses, and how far these fell, are close; else it is null, and `unlike` says why. MFU
counts what the method asks for, of the samples' own tokens, as a share of what the GPU was
measured to do with large squares in bf16, for fp8 as well; `--peak-tflops` adds the share of what
its maker says. The last line is one JSON object. `--tiny` tries all of it on a processor, in some
minutes; its figures mean nothing.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from bench.random_models import make_folder
from bench.supplies import FOLDER, write_mix
from bench.train import Told, list_versions, median, tell_unlike, word_range
from bench.train_gpu_arms import ARMS, LADDER, Load

ROOT = Path(__file__).parents[1]
_LOADS = {
    "7b": Load(size=8, num=8, num_steps=8, max_length=1024, micro_tokens=4096),
    "1.8b": Load(size=4, num=4, num_steps=12, max_length=2048, micro_tokens=8192),
}
_TINY = Load(size=2, num=2, num_steps=4, max_length=128, micro_tokens=256, is_cpu=True)
_LIKE_FALL = 0.1
"""How far two arms' losses may have fallen apart, as a share of how far the peer's fell: random
weights have a high loss, of which few steps take little."""
RATIOS: dict[str, tuple[str, str, str]] = {
    "lora_vs_trainer": ("tokens_per_s", "lora", "lora-trainer"),
    "lora_compiled_vs_trainer": ("tokens_per_s", "lora-compiled", "lora-trainer"),
    "lora_vs_trl": ("tokens_per_s", "lora", "lora-trl"),
    "lora_compiled_vs_trl": ("tokens_per_s", "lora-compiled", "lora-trl"),
    "lora_vs_trl_liger": ("tokens_per_s", "lora", "lora-trl-liger"),
    "lora_compiled_vs_trl_liger": ("tokens_per_s", "lora-compiled", "lora-trl-liger"),
    "memory_vs_trainer": ("peak_gib", "lora", "lora-trainer"),
    "pretrain_vs_trainer": ("tokens_per_s", "pretrain", "pretrain-trainer"),
    "pretrain_compiled_vs_trainer": ("tokens_per_s", "pretrain-compiled", "pretrain-trainer"),
    "pretrain_fp8_vs_bf16": ("tokens_per_s", "pretrain-fp8", "pretrain-compiled"),
}
STEPS_UP: dict[str, tuple[str, str, str]] = {
    f"{rung.removeprefix('lora-')}_vs_{before.removeprefix('lora-')}": (
        "tokens_per_s",
        rung,
        before,
    )
    for before, rung in pairwise(LADDER)
}
Measured = dict[str, list[Told]]


def main(given: Sequence[str] | None = None) -> None:
    options = parse_options(given)
    found: Measured = {}
    left_out: dict[str, str] = {}
    for number in range(options.rounds):
        for arm in options.arms if number % 2 == 0 else reversed(options.arms):
            if arm in left_out:
                continue
            told = run_arm(arm, options)
            if isinstance(told, str):
                left_out[arm] = told
                print(f"{arm} is left out: {told}", file=sys.stderr, flush=True)
                continue
            found.setdefault(arm, []).append(told)
            speed = f"{told['tokens_per_s']:.1f} tokens/s"
            print(f"round {number + 1}: {arm} {speed}", file=sys.stderr, flush=True)
    report(found, left_out, options)


def parse_options(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arms", default=",".join(ARMS), help="which, by comma")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, each arm once")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where models are kept")
    parser.add_argument("--peak-tflops", type=float, help="what the GPU computes a second in bf16")
    parser.add_argument("--tiny", action="store_true", help="a tiny shape, on the processor")
    options = parser.parse_args(given)
    options.arms = options.arms.split(",")
    if not options.tiny and not torch.cuda.is_available():
        parser.error("there is no GPU here; --tiny tries all of it on the processor")
    return options


def run_arm(arm: str, options: argparse.Namespace) -> Told | str:
    """Run one arm in a process of its own; return what it measured, or why it could not."""
    is_full = ARMS[arm].method == "full"
    size = "1.8b" if is_full else "7b"
    load = _TINY if options.tiny else _LOADS[size]
    folder = make_folder(options.folder, "tiny" if options.tiny else size, ARMS[arm].layout)
    data = write_pages(options.folder) if is_full else write_mix()
    wanted = [arm, str(folder), str(data), json.dumps(asdict(load))]
    done = subprocess.run(
        [sys.executable, "-m", "bench.train_gpu_arms", *wanted],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr, flush=True)
        return (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    told: Told = json.loads(done.stdout.splitlines()[-1])
    return told


def write_pages(folder: Path) -> Path:
    """Write the documentation and the dialogues as one text: all windows but its last are full."""
    path = folder / "pages.jsonl"
    if not path.exists():
        pages = [page.read_text() for page in sorted((ROOT / "docs").rglob("*.md"))]
        rows = [json.loads(line)["messages"] for line in write_mix().read_text().splitlines()]
        talks = ["\n".join(turn["content"] for turn in row) for row in rows]
        path.write_text(json.dumps({"text": "\n\n".join(pages + talks)}) + "\n")
    return path


def report(found: Measured, left_out: dict[str, str], options: argparse.Namespace) -> None:
    columns = ("tokens_per_s", "supervised_tokens_per_s", "tflops", "mfu", "peak_gib")
    losses = ("start_loss", "eval_loss")
    table = Table(title=f"{options.rounds} rounds, medians (lowest to highest)")
    for column in ("", *columns, *losses):
        table.add_column(column, justify="right" if column else "left")
    for arm, rounds in found.items():
        for each in rounds:
            each["mfu"] = each["tflops"] / each["roofline_tflops"]
            if options.peak_tflops:
                each["mfu_of_peak"] = each["tflops"] / options.peak_tflops
        cells = [word_range([each[name] for each in rounds]) for name in (*columns, *losses)]
        table.add_row(arm, *cells)
    Console(width=170).print(table)
    unlike: dict[str, str] = {}
    told: Told = {
        "ratios": compare_all(found, RATIOS, unlike),
        "ladder": compare_all(found, STEPS_UP, unlike),
        "unlike": unlike,
        "left_out": left_out,
        "figures": {arm: summarize(rounds) for arm, rounds in found.items()},
        "versions": list_versions(),
    }
    print(json.dumps(told))


def compare_all(
    found: Measured, wanted: dict[str, tuple[str, str, str]], unlike: dict[str, str]
) -> dict[str, float | None]:
    """Return ratios of medians, null where the arms did not do the same."""
    ratios: dict[str, float | None] = {}
    for ratio, (name, ours, theirs) in wanted.items():
        if ours not in found or theirs not in found:
            continue
        pair = found[ours], found[theirs]
        why = tell_unlike(*pair) or tell_unlike_falls(*pair)
        if why:
            unlike[ratio] = why
        ratios[ratio] = None if why else round(median(pair[0], name) / median(pair[1], name), 3)
    return ratios


def tell_unlike_falls(ours: list[Told], theirs: list[Told]) -> str:
    """Say where one arm's loss fell further than the other's, or nothing was learnt at all."""
    falls = [median(told, "start_loss") - median(told, "eval_loss") for told in (ours, theirs)]
    if falls[1] <= 0 or not abs(falls[0] - falls[1]) <= _LIKE_FALL * falls[1]:
        return f"eval_loss fell by {falls[0]:.4f} beside {falls[1]:.4f}"
    return ""


def summarize(rounds: list[Told]) -> Told:
    """Return medians of an arm's numbers, and what is no number once."""
    first = rounds[0]
    numbers = [name for name, value in first.items() if isinstance(value, float)]
    return first | {name: median(rounds, name) for name in numbers}


if __name__ == "__main__":
    main()
