"""One arm of `bench/train.py`, one round, in a process of its own: prints one line of JSON.

    python -m bench.train_arms ARM MODEL DATA EPOCHS THREADS

All arms take the same samples in the same steps, at one learning rate: the Trainer's batches define
them. The clock counts the samples' own tokens, never padding; tokens and targets of each step are
counted where an arm hands them to its model, so that bench/train.py can compare them.
"""

import json
import math
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
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

from engine.data.batch import Batch
from engine.data.conversations import read_conversations
from engine.data.plan import Step, plan_epoch, split_held_out
from engine.data.render import Renderer
from engine.data.samples import IGNORED, Rendered
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
from engine.train.pipeline import Pipeline
from engine.train.prepare import make_trainee, ready
from engine.train.trainee import Trainee

PEER_BATCH = 8  # samples at once: Trainer's default
NUM_ACCUMULATED = 2
"""Batches of a step: 16 samples have about 580 tokens of their own, and our default step 512."""
_RATES = {"lora": 2e-3, "full": 1e-4}
Group = list[int]  # indexes of the samples of a step, among those that are trained on


@dataclass
class StepClock:
    """When each step ended, what it had cost of the processor, and the samples' tokens it took."""

    times: list[float] = field(default_factory=list)
    cpu_times: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    supervised: list[int] = field(default_factory=list)

    def tick(self) -> None:
        self.times.append(time.perf_counter())
        self.cpu_times.append(time.process_time())

    def per_second(self, counts: list[int]) -> float:
        """Speed over all steps but the first two, in which what is compiled is compiled."""
        return sum(counts[2:]) / (self.times[-1] - self.times[1])

    def per_cpu_second(self, counts: list[int]) -> float:
        """The same by seconds of cores, which does not ask what else the machine does."""
        return sum(counts[2:]) / (self.cpu_times[-1] - self.cpu_times[1])


class Task:
    """What all arms do: samples, the steps they are taken in, settings, and the held-out loss."""

    def __init__(
        self, method: str, model: Path, data: Path, num_epochs: float, *, compiles: bool = False
    ) -> None:
        self.model, self.method = model, method
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.spec = TrainSpec(
            model=str(model.resolve()),
            dataset=str(data.resolve()),
            method=method,
            learning_rate=_RATES[method],
            schedule="constant",  # libraries count the steps of a warm-up differently
            warmup_ratio=0,
            compile=compiles,
            eval_every_steps=10**6,
            save_every_steps=10**6,
        )
        self.tokenizer = load_tokenizer(model)
        renderer = Renderer(self.tokenizer, max_length=self.spec.max_length)
        rows = enumerate(read_conversations(data))
        self.samples = [renderer.render(messages, row=row) for row, messages in rows]
        trained, held = split_held_out(
            len(self.samples), self.spec.eval_fraction, seed=self.spec.seed
        )
        self.held = [self.samples[index] for index in held]
        self.groups = draw_groups(len(trained), num_epochs, seed=self.spec.seed)
        self.steps = [[self.samples[trained[index]] for index in group] for group in self.groups]

    def make_training(self, run_dir: Path, emitter: Emitter, base: Any) -> "GivenSteps":
        mesh = Mesh(ParallelOptions(), self.device)
        return GivenSteps(
            spec=self.spec,
            trainee=ready(make_trainee(base, self.spec), self.spec, mesh),
            samples=self.samples,
            mesh=mesh,
            run_dir=run_dir,
            emitter=emitter,
            gate=StopGate(),
            groups=self.groups,
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

    def measure(self, model: Any) -> float:
        """Held-out loss, nats per supervised token, the plainest way: one sample at a time."""
        model.eval()
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        base.set_attn_implementation("sdpa")
        total, count = 0.0, 0
        for sample in self.held:
            ids_1T = torch.tensor([sample.ids], device=self.device)
            labels_T = torch.tensor(sample.labels[1:], device=self.device)
            with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16):
                logits_TV = model(input_ids=ids_1T).logits[0, :-1].float()
            total += float(F.cross_entropy(logits_TV, labels_T, reduction="sum"))
            count += sample.num_supervised
        return total / count


def draw_groups(num_samples: int, num_epochs: float, *, seed: int) -> list[Group]:
    """Share samples out to steps of the same number, in an order drawn by chance."""
    order = list(range(num_samples))
    random.Random(seed).shuffle(order)
    size = PEER_BATCH * NUM_ACCUMULATED
    groups = [order[at : at + size] for at in range(0, num_samples - size + 1, size)]
    return groups[: math.ceil(num_epochs * len(groups))]


@dataclass
class GivenSteps(Training):
    """Our training in steps of others; how a step is packed into micro-batches stays ours."""

    groups: Sequence[Group] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self.pipeline = self.counted = CountedPipeline(self.trainee, self.mesh)

    def plan(self, epoch: int) -> list[Step]:
        budget = replace(self.budget, step_tokens=sum(self.lengths))  # a group is one step
        planned = []
        for group in self.groups:
            planned += plan_epoch(self.lengths, budget, seed=self.spec.seed, epoch=0, drawn=group)
        return planned


class CountedPipeline(Pipeline):
    """Counts the targets that each step really learns from."""

    def __init__(self, trainee: Trainee, mesh: Mesh) -> None:
        super().__init__(trainee, mesh)
        self.supervised: list[int] = []

    def learn(self, batches: Iterable[Batch], whole: float) -> list[float]:
        self.supervised.append(0)
        return super().learn(self._count(batches), whole)

    def _count(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self.supervised[-1] += batch.num_supervised
            yield batch


class CountedCollator:
    """A peer's collator that notes tokens and targets of each batch that it makes."""

    def __init__(self, own: Callable[[list[Any]], Any]) -> None:
        self._own = own
        self.tokens: list[int] = []
        self.supervised: list[int] = []

    def __call__(self, rows: list[Any]) -> Any:
        batch = self._own(rows)
        mask = batch.get("attention_mask")  # none where nothing is filled up
        self.tokens.append(int(batch["input_ids"].numel() if mask is None else mask.sum()))
        self.supervised.append(int((batch["labels"][:, 1:] != IGNORED).sum()))
        return batch

    def tell(self, clock: StepClock) -> None:
        """Give a clock the counts of each step."""
        clock.tokens, clock.supervised = _sum_steps(self.tokens), _sum_steps(self.supervised)


def run_ours(task: Task, clock: StepClock, folder: Path) -> Any:
    def on_event(event: EventBase) -> None:
        if isinstance(event, Metric) and "loss" in event.values:
            clock.tick()

    training = task.make_training(folder, Emitter(on_event), task.load_ours())
    train_loop(training)
    clock.tokens = [sum(len(sample.ids) for sample in step) for step in task.steps]
    clock.supervised = training.counted.supervised
    return training.trainee.model


def run_trainer(task: Task, clock: StepClock, folder: Path, *, bf16: bool = False) -> Any:
    """Train as many would: padded batches, the model's own loss, Trainer's loop."""
    model = task.load_theirs(torch.bfloat16 if bf16 and task.is_lora else torch.float32)
    collator = CountedCollator(DataCollatorForSeq2Seq(task.tokenizer))
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            **_arrange(task, folder, bf16=bf16), train_sampling_strategy="sequential"
        ),
        train_dataset=_to_rows(task.steps),
        data_collator=collator,
        callbacks=[_Ticker(clock)],
    )
    trainer.train()
    collator.tell(clock)
    return model


def run_trl(task: Task, clock: StepClock, folder: Path) -> Any:
    """Train with trl at its best settings here: bfloat16, no padding, nothing recomputed.

    Its packing would choose the samples of a step; without padding each batch is one row as well,
    of the samples that it is given. Filled up, batches have 1.84 times as many tokens; the whole
    step in one row takes a tenth longer, since attention masks more.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    model = task.load_theirs(torch.bfloat16)
    arguments = _arrange(task, folder, bf16=True)
    arguments["gradient_checkpointing"] = False  # its default; there is memory for all
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            **arguments,
            padding_free=True,
            max_length=None,  # samples are cut already
            shuffle_dataset=False,
            train_sampling_strategy="sequential",
        ),
        train_dataset=Dataset.from_list(_to_rows(task.steps)),
        processing_class=task.tokenizer,
        callbacks=[_Ticker(clock)],
    )
    collator = CountedCollator(trainer.data_collator)
    trainer.data_collator = collator
    trainer.train()
    collator.tell(clock)
    return model


def _arrange(task: Task, folder: Path, *, bf16: bool) -> dict[str, Any]:
    """Return the arguments that make a peer's steps and settings ours."""
    spec = task.spec
    return {
        "output_dir": str(folder),
        "num_train_epochs": 1,
        "per_device_train_batch_size": PEER_BATCH,
        "gradient_accumulation_steps": NUM_ACCUMULATED,
        "learning_rate": spec.learning_rate,
        "lr_scheduler_type": spec.schedule,
        "warmup_steps": 0,
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


def _sum_steps(counts: list[int]) -> list[int]:
    starts = range(0, len(counts), NUM_ACCUMULATED)
    return [sum(counts[at : at + NUM_ACCUMULATED]) for at in starts]


def _to_rows(steps: Sequence[Sequence[Rendered]]) -> list[dict[str, list[int]]]:
    samples = [sample for step in steps for sample in step]
    return [{"input_ids": list(s.ids), "labels": list(s.labels)} for s in samples]


class _Ticker(TrainerCallback):
    def __init__(self, clock: StepClock) -> None:
        self._clock = clock

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self._clock.tick()


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
        trained = run(task, clock, Path(folder), **options)
        peak = read_peak_bytes()
        if task.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated()
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
