"""What preparing a large dataset takes: peak memory, MiB per second, and opening it again.

    python bench/data_memory.py --gib 10 --work DIR [--model FOLDER]

Writes a JSONL file of conversations of that size, renders it into the cache as a run does, opens it
a second time, and plans an epoch of it. Prints a table and, as the last line, one JSON object.
Memory has to stay the same however large the file is, but for some bytes a sample of the plan;
without `--model` the tiny byte tokenizer renders.
"""

import argparse
import contextlib
import json
import os
import random
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from engine.data.batch import find_shared
from engine.data.lengths import count_all_own
from engine.data.plan import Budget, plan_epoch, split_held_out
from engine.data.prepare import Located, Preparation, Samples, prepare_samples
from engine.data.render import Renderer
from engine.emitter import Emitter
from engine.runtime import read_peak_bytes
from engine.specs.sources import Source

MIB = 2**20
HELD_OUT = 0.02
WORDS = ["the", "furnace", "feeds", "itself", "and", "burns", "for", "days", "on", "one", "load"]


def main() -> None:
    options = read_options()
    options.work.mkdir(parents=True, exist_ok=True)
    path = write_rows(options.work / f"{options.gib:g}-gib.jsonl", int(options.gib * 2**30))
    renderer = make_renderer(options)
    before = read_peak_mib()
    watch = Watch()
    watch.start()
    made_s, samples = measure(path, renderer, options)
    opened_s, again = measure(path, renderer, options)
    assert again.digest() == samples.digest()
    size_mib = path.stat().st_size / MIB
    report(
        {
            "file_mib": size_mib,
            "num_rows": samples.contract.total("num_rows"),
            "num_tokens": samples.contract.total("num_tokens"),
            "make_mib_per_s": size_mib / made_s,
            "open_again_s": opened_s,
            "peak_mib_before": before,
            "peak_mib": read_peak_mib(),
            "peak_mib_of_a_worker": watch.peak_mib,
            **measure_plan(samples, options.max_length),
        }
    )


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=float, default=10.0)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--max-length", type=int, default=2048)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args()


def make_renderer(options: argparse.Namespace) -> Renderer:
    # Not at the top of the file, which the rendering processes load too: it brings torch.
    from engine.models.load import load_tokenizer
    from engine.models.tiny import make_tokenizer

    tokenizer = load_tokenizer(options.model) if options.model else make_tokenizer()
    return Renderer(tokenizer, max_length=options.max_length)


def write_rows(path: Path, num_bytes: int) -> Path:
    """Write conversations, no two alike, until the file is as large as wanted."""
    if path.exists() and path.stat().st_size >= num_bytes:
        return path
    draw = random.Random(7)
    written = 0
    with path.open("w") as file:
        while written < num_bytes:
            said = [" ".join(draw.choices(WORDS, k=draw.randint(5, 120))) for _ in range(2)]
            turns = [
                {"role": role, "content": text}
                for role, text in zip(("user", "assistant"), said, strict=True)
            ]
            written += file.write(json.dumps({"messages": turns}) + "\n")
    return path


def measure(path: Path, renderer: Renderer, options: argparse.Namespace) -> tuple[float, Samples]:
    how = Preparation(cache_dir=options.work / "cache", num_workers=options.workers)
    source = Located(Source(repo=str(path.resolve())), path)
    begun = time.perf_counter()
    samples = prepare_samples([source], renderer, how, Emitter())
    return time.perf_counter() - begun, samples


def measure_plan(samples: Samples, max_length: int) -> dict[str, float]:
    """Take what a training holds of each sample before its first step, and what that took."""
    tracemalloc.start()
    begun = time.perf_counter()
    trained, held = split_held_out(len(samples), HELD_OUT, seed=0)
    lengths = count_all_own(samples, find_shared(samples))
    kept = (trained, held, lengths[trained], lengths[held])
    del lengths
    plan = plan_epoch(kept[2], Budget(8 * max_length, max_length), seed=0, epoch=0)
    took_s = time.perf_counter() - begun
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "num_steps": len(plan),
        "plan_s": took_s,
        "plan_bytes_a_sample": now / len(samples),
        "plan_peak_bytes_a_sample": peak / len(samples),
    }


def read_peak_mib() -> float:
    return read_peak_bytes() / 2**20


class Watch(threading.Thread):
    """Looks at the rendering processes: what the system tells of ended ones has ours in it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_mib = 0.0

    def run(self) -> None:
        while True:
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    self.peak_mib = max(self.peak_mib, child.memory_info().rss / MIB)
            time.sleep(0.1)


def report(found: dict[str, Any]) -> None:
    table = Table("what", "figure")
    for name, value in found.items():
        table.add_row(name, f"{value:,.1f}" if isinstance(value, float) else f"{value:,}")
    Console().print(table)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
