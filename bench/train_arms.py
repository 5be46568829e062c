"""One arm of `bench/train.py`, one round, in a process of its own: prints one line of JSON.

    python -m bench.train_arms ARM MODEL DATA EPOCHS THREADS

All arms train the same samples in the same order, with about the same number of samples a step. The
clock counts the samples' own tokens, never padding.
"""

import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.runtime import prepare_process, read_peak_bytes

if __name__ == "__main__":
    prepare_process(int(sys.argv[5]))
    if {"trainer", "trl"} & set(sys.argv[1].split("-")):  # peers wait as PyTorch comes
        for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
            os.environ.pop(name, None)

import torch
import torch.nn.functional as F
from peft import get_peft_model
from transformers import (
    AutoModelForCausalLM,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from engine.data.conversations import read_conversations
from engine.data.render import Renderer
from engine.data.samples import Rendered
from engine.emitter import Emitter
from engine.events import EventBase, Metric
from engine.models.load import load_base, load_tokenizer
from engine.models.lora import make_config
from engine.specs import TrainSpec
from engine.specs.parallel import ParallelOptions
from engine.stopping import StopGate
from engine.train.attention import PACKED
from engine.train.loop import Training, train_loop
from engine.train.mesh import Mesh
from engine.train.prepare import make_trainee, ready

PEER_BATCH = 8  # samples at once: Trainer's default
_RATES = {"lora": 2e-3, "full": 1e-4}


@dataclass
class StepClock:
    """When each step ended, what it had cost of the processor, and the samples' tokens it took."""

    times: list[float] = field(default_factory=list)
    cpu_times: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    supervised: list[int] = field(default_factory=list)

    def tick(self, samples: Sequence[Rendered]) -> None:
        self.times.append(time.perf_counter())
        self.cpu_times.append(time.process_time())
        self.tokens.append(sum(len(sample.ids) for sample in samples))
        self.supervised.append(sum(sample.num_supervised for sample in samples))

    def per_second(self, counts: list[int]) -> float:
        """Speed over all steps but the first two, in which what is compiled is compiled."""
        return sum(counts[2:]) / (self.times[-1] - self.times[1])

    def per_cpu_second(self, counts: list[int]) -> float:
        """The same by seconds of cores, which does not ask what else the machine does."""
        return sum(counts[2:]) / (self.cpu_times[-1] - self.cpu_times[1])


class Task:
    """What all arms do: samples, settings, and the held-out loss that tells how well."""

    def __init__(
        self, method: str, model: Path, data: Path, num_epochs: float, *, compiles: bool = False
    ) -> None:
        self.model, self.method = model, method
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.spec = TrainSpec(
            model=str(model.resolve()),
            dataset=str(data.resolve()),
            method=method,
            num_epochs=num_epochs,
            learning_rate=_RATES[method],
            compile=compiles,
            eval_every_steps=10**6,
            save_every_steps=10**6,
        )
        self.tokenizer = load_tokenizer(model)
        renderer = Renderer(self.tokenizer, max_length=self.spec.max_length)
        rows = enumerate(read_conversations(data))
        self.samples = [renderer.render(messages, row=row) for row, messages in rows]

    def make_training(self, run_dir: Path, emitter: Emitter, base: Any) -> Training:
        mesh = Mesh(ParallelOptions(), self.device)
        return Training(
            spec=self.spec,
            trainee=ready(make_trainee(base, self.spec), self.spec, mesh),
            samples=self.samples,
            mesh=mesh,
            run_dir=run_dir,
            emitter=emitter,
            gate=StopGate(),
        )

    def load_ours(self) -> Any:
        precision = "fp32" if self.method == "full" else self.spec.precision
        return load_base(self.model, precision=precision, device=self.device, attention=PACKED)

    def load_theirs(self, dtype: torch.dtype) -> Any:
        """Load as a user of transformers and peft would; the adapter starts as ours does."""
        base = AutoModelForCausalLM.from_pretrained(self.model, dtype=dtype).to(self.device)
        if not self.is_lora:
            return base
        torch.manual_seed(self.spec.seed)
        return get_peft_model(base, make_config(base, self.spec.lora))

    @property
    def is_lora(self) -> bool:
        return self.method == "lora"

    def measure(self, model: Any, held: Sequence[Rendered]) -> float:
        """Held-out loss, nats per supervised token, the plainest way: one sample at a time."""
        model.eval()
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        base.set_attn_implementation("sdpa")
        total, count = 0.0, 0
        for sample in held:
            ids_1T = torch.tensor([sample.ids], device=self.device)
            labels_T = torch.tensor(sample.labels[1:], device=self.device)
            with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16):
                logits_TV = model(input_ids=ids_1T).logits[0, :-1].float()
            total += float(F.cross_entropy(logits_TV, labels_T, reduction="sum"))
            count += sample.num_supervised
        return total / count


def list_steps(training: Training) -> list[list[Rendered]]:
    """Return the samples of each step."""
    return [
        [training.trained[index] for micro in step for index in micro]
        for _, _, step in training.steps_from(0)
    ]


def run_ours(task: Task, clock: StepClock, folder: Path) -> tuple[Any, Sequence[Rendered]]:
    def on_event(event: EventBase) -> None:
        if isinstance(event, Metric) and "loss" in event.values:
            clock.tick(steps[event.step - 1])

    training = task.make_training(folder, Emitter(on_event), task.load_ours())
    steps = list_steps(training)
    train_loop(training)
    return training.trainee.model, training.held


def run_trainer(
    task: Task, clock: StepClock, folder: Path, *, bf16: bool = False
) -> tuple[Any, Sequence[Rendered]]:
    """Train as many would: padded batches, the model's own loss, Trainer's loop."""
    steps, held = _plan(task, folder)
    model = task.load_theirs(torch.bfloat16 if bf16 and task.is_lora else torch.float32)
    samples, arguments = _arrange(task, steps, folder, bf16=bf16)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(**arguments, train_sampling_strategy="sequential"),
        train_dataset=_to_rows(samples),
        data_collator=DataCollatorForSeq2Seq(task.tokenizer),
        callbacks=[_Ticker(clock, samples, _count_per_step(arguments))],
    )
    trainer.train()
    return model, held


def run_trl(task: Task, clock: StepClock, folder: Path) -> tuple[Any, Sequence[Rendered]]:
    """Train with trl at its best settings here: packed rows in bfloat16, nothing recomputed."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    steps, held = _plan(task, folder)
    model = task.load_theirs(torch.bfloat16)
    samples, arguments = _arrange(task, steps, folder, bf16=True)
    arguments |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
    arguments["gradient_checkpointing"] = False  # its default; there is memory for all
    rows = Dataset.from_list(
        [{key: row[key] for key in ("input_ids", "labels")} for row in _to_rows(samples)]
    )
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            **arguments, packing=True, max_length=task.spec.tokens_per_step, shuffle_dataset=False
        ),
        train_dataset=rows,
        processing_class=task.tokenizer,
        callbacks=[_Ticker(clock, [], 0)],
    )
    trainer.train()
    share = [len(samples) * n // len(clock.times) for n in range(len(clock.times) + 1)]
    parts = [samples[a:b] for a, b in zip(share, share[1:], strict=False)]
    clock.tokens = [sum(len(s.ids) for s in part) for part in parts]
    clock.supervised = [sum(s.num_supervised for s in part) for part in parts]
    return model, held


def _plan(task: Task, folder: Path) -> tuple[list[list[Rendered]], Sequence[Rendered]]:
    """Return the samples of each of our steps, and those held out; our model is gone again."""
    training = task.make_training(folder, Emitter(), task.load_ours())
    steps, held = list_steps(training), training.held
    del training
    gc.collect()  # what we hold is none of theirs
    return steps, held


def _arrange(
    task: Task, steps: list[list[Rendered]], folder: Path, *, bf16: bool
) -> tuple[list[Rendered], dict[str, Any]]:
    """Return our samples in our order, and arguments for about as many steps."""
    spec = task.spec
    samples = [sample for step in steps for sample in step]
    num_accumulated = max(1, round(len(samples) / len(steps) / PEER_BATCH))
    arguments = {
        "output_dir": str(folder),
        "num_train_epochs": 1,
        "per_device_train_batch_size": PEER_BATCH,
        "gradient_accumulation_steps": num_accumulated,
        "learning_rate": spec.learning_rate,
        "lr_scheduler_type": spec.schedule,
        "warmup_steps": round(spec.warmup_ratio * len(steps)),
        "weight_decay": spec.weight_decay,
        "max_grad_norm": spec.max_grad_norm,
        "bf16": bf16,
        "use_cpu": task.device.type == "cpu",
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "logging_strategy": "no",
        "seed": spec.seed,
    }
    return samples, arguments


def _count_per_step(arguments: dict[str, Any]) -> int:
    return PEER_BATCH * int(arguments["gradient_accumulation_steps"])


def _to_rows(samples: Sequence[Rendered]) -> list[dict[str, list[int]]]:
    return [{"input_ids": list(s.ids), "labels": list(s.labels)} for s in samples]


class _Ticker(TrainerCallback):
    def __init__(self, clock: StepClock, samples: Sequence[Rendered], per_step: int) -> None:
        self._clock, self._samples, self._per_step = clock, samples, per_step

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        end = state.global_step * self._per_step
        self._clock.tick(self._samples[end - self._per_step : end])


ARMS = {
    "lora": ("lora", run_ours, {}),
    "lora-compiled": ("lora", run_ours, {}),
    "lora-trainer": ("lora", run_trainer, {}),
    "lora-trainer-bf16": ("lora", run_trainer, {"bf16": True}),
    "lora-trl": ("lora", run_trl, {}),
    "full": ("full", run_ours, {}),
    "full-trainer": ("full", run_trainer, {}),
}


def main() -> None:
    """Run the arm that the command line names."""
    name, model, data, epochs = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    method, run, options = ARMS[name]
    compiles = name.endswith("-compiled")
    task, clock = Task(method, model, data, float(epochs), compiles=compiles), StepClock()
    with tempfile.TemporaryDirectory() as folder:
        trained, held = run(task, clock, Path(folder), **options)
        peak = read_peak_bytes()
        if task.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated()
        loss = task.measure(trained, held)
    told = {
        "tokens_per_s": clock.per_second(clock.tokens),
        "tokens_per_cpu_s": clock.per_cpu_second(clock.tokens),
        "supervised_tokens_per_s": clock.per_second(clock.supervised),
        "peak_gib": peak / 2**30,
        "eval_loss": loss,
        "num_steps": len(clock.times),
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
