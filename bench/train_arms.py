"""One arm of `bench/train.py`, one round, in a process of its own: prints one line of JSON.

python -m bench.train_arms ARM MODEL DATA EPOCHS THREADS
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from engine.runtime import prepare_process

if __name__ == "__main__":
    prepare_process(int(sys.argv[5]))
    if {"trainer", "trl"} & set(sys.argv[1].split("-")):  # peers wait as PyTorch comes
        for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
            os.environ.pop(name, None)

import torch

from bench.train_task import Batches, StepClock, Task, run_ours
from engine.specs import TrainSpec

BATCHES = Batches(8, 2)
"""8 is the Trainer's default. 16 samples have about 580 tokens of their own; our default step has
512. So trl takes them too: batches that are filled up have 1.84 times as many tokens, and a whole
step in one row takes a tenth longer than two rows, whose attention masks less."""
_RATES = {"lora": 2e-3, "full": 1e-4}


def make_task(arm: str, model: Path, data: Path, num_epochs: float) -> Task:
    """Return what an arm does."""
    method = arm.partition("-")[0]
    spec = TrainSpec(
        model=str(model.resolve()),
        dataset=str(data.resolve()),
        method=method,
        num_epochs=num_epochs,
        learning_rate=_RATES[method],
        schedule="constant",  # libraries count the steps of a warm-up differently
        warmup_ratio=0,
        compile=arm.endswith("-compiled"),
        eval_every_steps=10**6,
        save_every_steps=10**6,
    )
    return Task(spec, BATCHES)


def run(arm: str, task: Task, clock: StepClock, folder: Path) -> Any:
    """Train as an arm does; return the model."""
    if not {"trainer", "trl"} & set(arm.split("-")):
        return run_ours(task, clock, folder)
    # Only here: what Trainer loads is 50 MiB that our trainings do without.
    from bench.train_peers import run_trainer, run_trl

    has_bf16 = arm in ("lora-trl", "lora-trainer-bf16")
    model = task.adapt(task.load_theirs(torch.bfloat16 if has_bf16 else torch.float32))
    if arm == "lora-trl":
        return run_trl(task, clock, folder, model, BATCHES)
    return run_trainer(task, clock, folder, model, bf16=has_bf16)


def main() -> None:
    """Run the arm that the command line names."""
    arm, model, data, epochs = sys.argv[1:5]
    task, clock = make_task(arm, Path(model), Path(data), float(epochs)), StepClock()
    with tempfile.TemporaryDirectory() as folder:
        trained = run(arm, task, clock, Path(folder))
        peak = task.read_peak()
        loss = task.measure(trained)
    told = {
        "tokens_per_s": clock.per_second(clock.tokens),
        "tokens_per_cpu_s": clock.per_cpu_second(clock.tokens),
        "supervised_tokens_per_s": clock.per_second(clock.supervised),
        "peak_gib": peak / 2**30,
        "eval_loss": loss,
        "step_tokens": clock.tokens,
        "step_supervised": clock.supervised,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
