"""The two sides of `bench/train.py`: our training loop, and transformers' Trainer with peft."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import DataCollatorForSeq2Seq, Trainer, TrainerCallback, TrainingArguments

from engine.data.conversations import read_conversations
from engine.data.render import Rendered, Renderer
from engine.emitter import Emitter
from engine.events import EventBase, Metric
from engine.models.load import load_base, load_tokenizer
from engine.models.lora import add_adapter
from engine.specs import TrainSpec
from engine.specs.parallel import ParallelOptions
from engine.stopping import StopGate
from engine.train.attention import PACKED
from engine.train.loop import Training, train_loop
from engine.train.mesh import Mesh
from engine.train.trainee import Trainee

PEER_BATCH = 8  # samples at once; a usual choice for short conversations


@dataclass
class StepClock:
    """When each step ended, and the samples' tokens that it took."""

    times: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    supervised: list[int] = field(default_factory=list)

    def tick(self, samples: Sequence[Rendered]) -> None:
        self.times.append(time.perf_counter())
        self.tokens.append(sum(len(sample.ids) for sample in samples))
        self.supervised.append(sum(sample.num_supervised for sample in samples))

    def per_second(self, counts: list[int]) -> float:
        """Speed over all steps but the first, which is warm-up."""
        return sum(counts[1:]) / (self.times[-1] - self.times[0])


class Task:
    """What both sides do: the samples, the settings, and the held-out loss that tells how well."""

    def __init__(self, model: Path, data: Path, num_epochs: float) -> None:
        self.model = model
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.spec = TrainSpec(
            model=str(model.resolve()),
            dataset=str(data.resolve()),
            num_epochs=num_epochs,
            eval_every_steps=10**6,
            save_every_steps=10**6,
        )
        self.tokenizer = load_tokenizer(model)
        renderer = Renderer(self.tokenizer, max_length=self.spec.max_length)
        rows = enumerate(read_conversations(data))
        self.samples = [renderer.render(messages, row=row) for row, messages in rows]

    def make_model(self, attention: str) -> Any:
        """Load the base afresh, with an adapter that starts the same each time."""
        precision, seed = self.spec.precision, self.spec.seed
        base = load_base(self.model, precision=precision, device=self.device, attention=attention)
        return add_adapter(base, self.spec.lora, seed=seed)

    def make_training(self, model: Any, run_dir: Path, emitter: Emitter) -> Training:
        compute = model.get_base_model().get_output_embeddings().weight.dtype
        return Training(
            spec=self.spec,
            trainee=Trainee(model, compute),
            samples=self.samples,
            mesh=Mesh(ParallelOptions(), self.device),
            run_dir=run_dir,
            emitter=emitter,
            gate=StopGate(),
        )

    def measure(self, model: Any, held: Sequence[Rendered]) -> float:
        """Held-out loss, nats per supervised token, the plainest way: one sample at a time."""
        model.eval()
        model.get_base_model().set_attn_implementation("sdpa")
        total, count = 0.0, 0
        for sample in held:
            ids_1T = torch.tensor([sample.ids], device=self.device)
            labels_T = torch.tensor(sample.labels[1:], device=self.device)
            with torch.no_grad():
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


def run_ours(task: Task) -> tuple[StepClock, float]:
    clock = StepClock()

    def on_event(event: EventBase) -> None:
        if isinstance(event, Metric) and "loss" in event.values:
            clock.tick(steps[event.step - 1])

    with tempfile.TemporaryDirectory() as folder:
        model = task.make_model(PACKED)
        training = task.make_training(model, Path(folder), Emitter(on_event))
        steps = list_steps(training)
        train_loop(training)
    return clock, task.measure(model, training.held)


def run_peer(task: Task) -> tuple[StepClock, float]:
    """Train as many would: padded batches, the model's own loss, Trainer's loop.

    The samples come in our order, and so many a step that the number of steps is about the same.
    """
    clock = StepClock()
    spec = task.spec
    with tempfile.TemporaryDirectory() as folder:
        model = task.make_model("sdpa")
        training = task.make_training(model, Path(folder), Emitter())
        steps = list_steps(training)
        samples = [sample for step in steps for sample in step]
        num_accumulated = max(1, round(len(samples) / len(steps) / PEER_BATCH))
        per_step = PEER_BATCH * num_accumulated
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=PEER_BATCH,
            gradient_accumulation_steps=num_accumulated,
            train_sampling_strategy="sequential",
            learning_rate=spec.learning_rate,
            lr_scheduler_type=spec.schedule,
            warmup_steps=round(spec.warmup_ratio * len(samples) / per_step),
            weight_decay=spec.weight_decay,
            max_grad_norm=spec.max_grad_norm,
            bf16=next(iter(model.get_base_model().parameters())).dtype == torch.bfloat16,
            use_cpu=task.device.type == "cpu",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            logging_strategy="no",
            seed=spec.seed,
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=[
                {"input_ids": list(sample.ids), "labels": list(sample.labels)} for sample in samples
            ],
            data_collator=DataCollatorForSeq2Seq(task.tokenizer),
            callbacks=[_Ticker(clock, samples, per_step)],
        )
        trainer.train()
    return clock, task.measure(model, training.held)


class _Ticker(TrainerCallback):
    def __init__(self, clock: StepClock, samples: Sequence[Rendered], per_step: int) -> None:
        self._clock, self._samples, self._per_step = clock, samples, per_step

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        end = state.global_step * self._per_step
        self._clock.tick(self._samples[end - self._per_step : end])
