"""What the arms of a training bench share: samples in given steps, a clock, the held-out loss.

All arms take the same samples in the same steps, at one learning rate: a peer's batches define
them. The clock counts the samples' own tokens, never padding; tokens and targets of each step are
counted where an arm hands them to its model, so that arms can be compared step by step.
"""

import json
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from peft import get_peft_model
from transformers import AutoModelForCausalLM

from engine.data.batch import Batch
from engine.data.conversations import read_conversations
from engine.data.plan import Step, plan_epoch, split_held_out, to_indexes
from engine.data.render import Renderer
from engine.data.samples import Rendered
from engine.emitter import Emitter
from engine.events import EventBase, Metric
from engine.models.load import load_base, load_tokenizer
from engine.models.lora import make_config
from engine.runtime import read_peak_bytes
from engine.specs import TrainSpec
from engine.specs.parallel import ParallelOptions
from engine.stopping import StopGate
from engine.train.attention import PACKED
from engine.train.loop import Training, train_loop
from engine.train.mesh import Mesh
from engine.train.pipeline import Pipeline
from engine.train.prepare import make_trainee, ready
from engine.train.trainee import Trainee

NUM_WARM = 2
"""Steps in which what is compiled is compiled: no speed counts them."""
Group = list[int]  # indexes of the samples of a step, among those that are trained on


@dataclass(frozen=True)
class Batches:
    """How a peer cuts a step."""

    size: int
    """Samples at once."""
    num: int
    """Batches whose gradients are added up."""

    @property
    def per_step(self) -> int:
        """Samples of a step."""
        return self.size * self.num


@dataclass
class StepClock:
    """When each step ended, what it had cost of the processor, and the samples' tokens it took."""

    times: list[float] = field(default_factory=list)
    cpu_times: list[float] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    supervised: list[int] = field(default_factory=list)

    def tick(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # peers run ahead of their GPU
        self.times.append(time.perf_counter())
        self.cpu_times.append(time.process_time())

    def per_second(self, counts: Sequence[float]) -> float:
        """Speed over all steps but the warm ones."""
        return sum(counts[NUM_WARM:]) / (self.times[-1] - self.times[NUM_WARM - 1])

    def per_cpu_second(self, counts: Sequence[float]) -> float:
        """The same by seconds of cores, which does not ask what else the machine does."""
        return sum(counts[NUM_WARM:]) / (self.cpu_times[-1] - self.cpu_times[NUM_WARM - 1])


class Task:
    """What all arms do: samples, the steps they are taken in, settings, and the held-out loss."""

    def __init__(self, spec: TrainSpec, batches: Batches, *, is_cpu: bool = False) -> None:
        self.spec, self.batches = spec, batches
        is_cuda = torch.cuda.is_available() and not is_cpu
        self.device = torch.device("cuda" if is_cuda else "cpu")
        self.tokenizer = load_tokenizer(Path(spec.model))
        self.samples = self._render()
        trained, held = split_held_out(len(self.samples), spec.eval_fraction, seed=spec.seed)
        self.held = [self.samples[index] for index in held]
        self.groups = draw_groups(len(trained), batches.per_step, seed=spec.seed)
        wanted = math.ceil(spec.num_epochs * len(self.groups))
        groups = self.groups[: min(wanted, spec.max_steps or wanted)]
        self.steps = [[self.samples[trained[index]] for index in group] for group in groups]

    @property
    def is_full(self) -> bool:
        return self.spec.method == "full"

    def load_ours(self) -> Any:
        return load_base(
            Path(self.spec.model),
            precision="fp32" if self.is_full else self.spec.precision,
            device=self.device,
            attention=PACKED,
            quantize="nf4" if self.spec.method == "qlora" else None,
        )

    def load_theirs(self, dtype: torch.dtype, **options: Any) -> Any:
        """Load as a user of transformers would, all weights to be trained."""
        model = AutoModelForCausalLM.from_pretrained(self.spec.model, dtype=dtype, **options)
        return model.to(self.device)

    def adapt(self, base: Any) -> Any:
        """Put peft's own adapter on a base, where one is trained; it starts as ours does."""
        if self.is_full:
            return base
        torch.manual_seed(self.spec.seed)
        return get_peft_model(base, make_config(base, self.spec.lora))

    def make_training(self, run_dir: Path, emitter: Emitter, trainee: Trainee) -> "GivenSteps":
        mesh = Mesh(ParallelOptions(), self.device)
        return GivenSteps(
            spec=self.spec,
            trainee=ready(trainee, self.spec, mesh),
            samples=self.samples,
            mesh=mesh,
            run_dir=run_dir,
            emitter=emitter,
            gate=StopGate(),
            groups=self.groups,
        )

    def measure(self, model: Any) -> float:
        """Held-out loss, nats per supervised token, the plainest way: one sample at a time."""
        model.eval()
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        own = base.config._attn_implementation
        base.set_attn_implementation("sdpa")
        total, count = 0.0, 0
        for sample in self.held:
            ids_1T = torch.tensor([sample.ids], device=self.device)
            labels_T = torch.tensor(sample.labels[1:], device=self.device)
            with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16):
                logits_TV = model(input_ids=ids_1T).logits[0, :-1].float()
            total += float(F.cross_entropy(logits_TV, labels_T, reduction="sum"))
            count += sample.num_supervised
        base.set_attn_implementation(own)
        return total / count

    def read_peak(self) -> int:
        """Return the most bytes held at once: by tensors on a GPU, else by the process."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return read_peak_bytes()

    def _render(self) -> list[Rendered]:
        renderer = Renderer(self.tokenizer, max_length=self.spec.max_length)
        data = Path(self.spec.dataset)
        if self.spec.stage == "pretrain":
            texts = [json.loads(line)["text"] for line in data.read_text().splitlines()]
            cut = [renderer.render_text(text, row=row) for row, text in enumerate(texts)]
            return [sample for samples in cut for sample in samples]
        rows = enumerate(read_conversations(data))
        return [renderer.render(messages, row=row) for row, messages in rows]


def draw_groups(num_samples: int, size: int, *, seed: int) -> list[Group]:
    """Share samples out to steps of the same number, in an order drawn by chance."""
    order = list(range(num_samples))
    random.Random(seed).shuffle(order)
    return [order[at : at + size] for at in range(0, num_samples - size + 1, size)]


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
            planned += plan_epoch(
                self.lengths, budget, seed=self.spec.seed, epoch=0, drawn=to_indexes(group)
            )
        return planned


class CountedPipeline(Pipeline):
    """Counts the targets that each step really learns from."""

    def __init__(self, trainee: Trainee, mesh: Mesh) -> None:
        super().__init__(trainee, mesh)
        self.supervised: list[int] = []

    def learn(self, batches: Iterable[Batch], divisor: float) -> list[float]:
        self.supervised.append(0)
        return super().learn(self._count(batches), divisor)

    def _count(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self.supervised[-1] += batch.num_supervised
            yield batch


def run_ours(
    task: Task,
    clock: StepClock,
    folder: Path,
    make: Callable[[Any, TrainSpec], Trainee] = make_trainee,
    base: Any = None,
) -> Any:
    """Train with our loop a base, or the task's own, of which `make` makes what is trained."""

    def on_event(event: EventBase) -> None:
        if isinstance(event, Metric) and "loss" in event.values:
            clock.tick()

    trainee = make(task.load_ours() if base is None else base, task.spec)
    training = task.make_training(folder, Emitter(on_event), trainee)
    train_loop(training)
    clock.tokens = [sum(len(sample.ids) for sample in step) for step in task.steps]
    clock.supervised = training.counted.supervised
    return training.trainee.model
