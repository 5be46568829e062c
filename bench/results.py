"""Two results on a real model, before and after: unseen text, and questions asked in a new way.

    python -m bench.results [--model DIR] [--seed 17] [--threads 2] [--part both]

1. Continued pretraining on this repository's own English documentation, which was written after the
   model: perplexity of files that were kept out, in nats over all tokens of windows of 512.
2. Supervised finetuning on the shipped set, in which each fact is asked in several ways: of each
   fact some ways are kept out, and their answers, taken greedily, count only if they are the fact's
   own to the letter.

Both train by `python -m engine train`, and are measured with plain transformers and peft. Prints a
table and, as its last line, one JSON object.
"""

import argparse
import hashlib
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peft import PeftModel
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

from bench.supplies import import_smollm2

ROOT = Path(__file__).parents[1]
DOCS, SHIPPED = ROOT / "docs", ROOT / "studio/hub/shipped/athanor-guide/train.jsonl"
WINDOW = 512
_ASKED_AT_ONCE = 16
_LONGEST_ANSWER = 64
_ONE_FILE_IN, _ONE_WAY_IN = 6, 5
PRETRAIN: dict[str, Any] = {
    "stage": "pretrain",
    "method": "full",
    "num_epochs": 1,
    "learning_rate": 1e-4,
    "max_length": WINDOW,
    "tokens_per_step": 1024,
    "micro_batch_tokens": 1024,
}
SFT: dict[str, Any] = {
    "stage": "sft",
    "method": "lora",
    "num_epochs": 3,
    "learning_rate": 2e-3,
    "lora": {"rank": 16, "alpha": 32},
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Split:
    """Rows to learn from, and rows that nothing learns from."""

    trained: list[Row]
    held: list[Row]

    def digest(self) -> str:
        """Name the rows, so that two who compare figures know that they had the same."""
        text = json.dumps([self.trained, self.held], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Settings:
    """Where and how a result is made."""

    model: Path
    work: Path
    seed: int = 17
    threads: int = 2
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the spec that are not the usual ones: tests take fewer steps."""


def main() -> None:
    options = parse_options()
    torch.set_num_threads(options.threads)
    model = options.model or import_smollm2()
    found = {}
    with tempfile.TemporaryDirectory() as work:
        settings = Settings(model, Path(work), options.seed, options.threads)
        if options.part in ("both", "pretrain"):
            found["pretrain"] = measure_pretraining(split_docs(options.seed), settings)
        if options.part in ("both", "sft"):
            found["sft"] = measure_finetuning(split_shipped(options.seed), settings)
    report(found)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="model folder (default: SmolLM2 from PyPI)")
    parser.add_argument("--seed", type=int, default=17, help="of splits and trainings")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads")
    parser.add_argument("--part", choices=("both", "pretrain", "sft"), default="both")
    return parser.parse_args()


def split_docs(seed: int) -> Split:
    """Keep one of six files of the documentation out. What tells the figures is in neither."""
    files = [
        path
        for path in sorted(DOCS.rglob("*.md"))
        if not path.name.endswith(".zh.md") and path.name not in ("results.md", "README.md")
    ]
    held = set(random.Random(f"{seed}/docs").sample(files, len(files) // _ONE_FILE_IN))
    rows = {path: {"text": path.read_text(encoding="utf-8")} for path in files}
    return Split([rows[p] for p in files if p not in held], [rows[p] for p in files if p in held])


def split_shipped(seed: int, *, num_facts: int | None = None) -> Split:
    """Keep one of five ways to ask each fact out, at least one.

    Only rows of one question and one answer: of talks of two turns the first would stay behind.
    """
    rows = [json.loads(line) for line in SHIPPED.read_text(encoding="utf-8").splitlines()]
    ways = defaultdict(list)
    for row in rows:
        if [message["role"] for message in row["messages"]] == ["user", "assistant"]:
            ways[row["messages"][1]["content"]].append(row)
    trained, held = [], []
    for answer in sorted(ways)[:: max(1, len(ways) // (num_facts or len(ways)))]:
        asked = list(ways[answer])
        random.Random(f"{seed}/{answer}").shuffle(asked)
        cut = max(1, len(asked) // _ONE_WAY_IN)
        held += asked[:cut]
        trained += asked[cut:]
    learnt = {row["messages"][0]["content"] for row in trained}
    assert not any(row["messages"][0]["content"] in learnt for row in held)
    return Split(trained, held)


def measure_pretraining(split: Split, settings: Settings) -> dict[str, Any]:
    """Return perplexity before and after, and what was trained on."""
    texts = [row["text"] for row in split.held]
    before = measure_perplexity(settings.model, texts)
    begun = time.perf_counter()
    out = train(PRETRAIN, split, settings, "pretrain")
    trained_s = time.perf_counter() - begun
    after = measure_perplexity(out, texts)
    return _tell(split, settings, trained_s, "held-out perplexity", before, after)


def measure_finetuning(split: Split, settings: Settings) -> dict[str, Any]:
    """Return the share of exact answers before and after, and what was trained on."""
    before = measure_exact(settings.model, None, split.held)
    begun = time.perf_counter()
    out = train(SFT, split, settings, "sft")
    trained_s = time.perf_counter() - begun
    after = measure_exact(settings.model, out, split.held)
    return _tell(split, settings, trained_s, "held-out exact match", before, after)


def train(wanted: dict[str, Any], split: Split, settings: Settings, name: str) -> Path:
    """Train as anybody would, from the command line; return the folder that the run made."""
    folder = settings.work / name
    folder.mkdir()
    lines = [json.dumps(row, ensure_ascii=False) for row in split.trained]
    (folder / "rows.jsonl").write_text("\n".join(lines), encoding="utf-8")
    spec = {
        "model": str(settings.model.resolve()),
        "dataset": str((folder / "rows.jsonl").resolve()),
        "seed": settings.seed,
        "eval_fraction": 0,
        "save_every_steps": 10**6,
        **wanted,
        **settings.changes,
    }
    (folder / "spec.yaml").write_text(json.dumps(spec), encoding="utf-8")
    command = [sys.executable, "-m", "engine", "train", str(folder / "spec.yaml")]
    command += ["--run-dir", str(folder / "run"), "--threads", str(settings.threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise SystemExit(f"the training failed:\n{done.stdout[-3000:]}")
    return folder / "run" / "out"


@torch.no_grad()
def measure_perplexity(model: Path, texts: list[str]) -> float:
    """Return exp of the mean nats of each token but a window's first; windows do not overlap."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    language = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    total, count = 0.0, 0
    for text in texts:
        ids_T = tokenizer(text, return_tensors="pt").input_ids[0]
        for window_T in ids_T.split(WINDOW):
            if len(window_T) < 2:
                continue
            logits_TV = language(input_ids=window_T[None]).logits[0, :-1]
            total += float(F.cross_entropy(logits_TV, window_T[1:], reduction="sum"))
            count += len(window_T) - 1
    return math.exp(total / count)


@torch.no_grad()
def measure_exact(model: Path, adapter: Path | None, rows: list[Row]) -> float:
    """Return the share of questions that are answered greedily to the letter."""
    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    language: Any = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    if adapter is not None:
        language = PeftModel.from_pretrained(language, adapter).merge_and_unload().eval()
    num_exact = 0
    for start in range(0, len(rows), _ASKED_AT_ONCE):
        part = rows[start : start + _ASKED_AT_ONCE]
        asked = [
            tokenizer.apply_chat_template(
                row["messages"][:1], tokenize=False, add_generation_prompt=True
            )
            for row in part
        ]
        given = tokenizer(asked, return_tensors="pt", padding=True, add_special_tokens=False)
        written = language.generate(
            **given, max_new_tokens=_LONGEST_ANSWER, do_sample=False, pad_token_id=0
        )
        answers = tokenizer.batch_decode(
            written[:, given.input_ids.shape[1] :], skip_special_tokens=True
        )
        num_exact += sum(
            answer.strip() == row["messages"][1]["content"].strip()
            for answer, row in zip(answers, part, strict=True)
        )
    return num_exact / len(rows)


def _tell(
    split: Split, settings: Settings, trained_s: float, what: str, before: float, after: float
) -> dict[str, Any]:
    return {
        "what": what,
        "before": round(before, 4),
        "after": round(after, 4),
        "num_trained_rows": len(split.trained),
        "num_held_rows": len(split.held),
        "seed": settings.seed,
        "rows_digest": split.digest(),
        "trained_s": round(trained_s, 1),
    }


def report(found: dict[str, dict[str, Any]]) -> None:
    table = Table("result", "before", "after", "rows learnt from", "held out", "seed", "rows", "s")
    for told in found.values():
        table.add_row(*(str(value) for value in (
            told["what"], told["before"], told["after"], told["num_trained_rows"],
            told["num_held_rows"], told["seed"], told["rows_digest"], told["trained_s"],
        )))  # fmt: skip
    Console(width=120).print(table)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
