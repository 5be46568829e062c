"""The loop: plan, step, measure, keep. What is trained, and from what, is decided outside."""

import hashlib
import itertools
import math
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from peft import PeftModel
from peft.helpers import disable_input_dtype_casting

from engine.data.batch import Batch, collate, count_own, count_room, find_shared
from engine.data.plan import Budget, Step, plan_epoch, split_held_out
from engine.data.render import Rendered
from engine.emitter import Emitter, measure_folder
from engine.errors import EngineError
from engine.models.decoder import head_weight
from engine.models.lora import list_trainable
from engine.specs import TrainSpec
from engine.status import Reason
from engine.stopping import StopGate
from engine.train.checkpoint import Progressed, load_checkpoint, save_checkpoint
from engine.train.losses import sft_loss_sum
from engine.train.optim import get_learning_rate, make_optimizer, set_learning_rate

_ROWS_TOLD = 8


@dataclass
class Training:
    """All that a run of the loop works with."""

    spec: TrainSpec
    model: PeftModel
    samples: Sequence[Rendered]
    device: torch.device
    run_dir: Path
    emitter: Emitter
    gate: StopGate
    resume_from: Path | None = None
    on_evaluated: Callable[[int], None] = lambda step: None
    """Called with the step after each evaluation, the model in eval mode."""
    final_metrics: dict[str, float] = field(default_factory=dict)
    at: Progressed = field(init=False)

    def __post_init__(self) -> None:
        """Split, plan, and make the optimizer."""
        trained, held = split_held_out(
            len(self.samples), self.spec.eval_fraction, seed=self.spec.seed
        )
        self.shared = find_shared(self.samples)
        self.trained = [self.samples[index] for index in trained]
        self.held = [self.samples[index] for index in held]
        self.lengths = [count_own(sample, self.shared) for sample in self.trained]
        self.budget = Budget(
            step_tokens=self.spec.tokens_per_step,
            micro_tokens=count_room(self.spec.micro_batch_tokens, self.shared),
        )
        per_epoch = len(self.plan(0))
        wanted = math.ceil(self.spec.num_epochs * per_epoch)
        self.num_steps = min(wanted, self.spec.max_steps or wanted)
        self.parameters = list_trainable(self.model)
        self.optimizer = make_optimizer(self.parameters, weight_decay=self.spec.weight_decay)

    def plan(self, epoch: int) -> list[Step]:
        """Return the steps of an epoch."""
        return plan_epoch(self.lengths, self.budget, seed=self.spec.seed, epoch=epoch)

    def steps_from(self, first: int) -> Iterator[tuple[int, float, Step]]:
        """Yield step number, epochs seen once it is done, and micro-batches, from `first` on."""
        for number, (epochs, step) in enumerate(self._all_steps()):
            if number >= self.num_steps:
                return
            if number >= first:
                yield number, epochs, step

    def _all_steps(self) -> Iterator[tuple[float, Step]]:
        for epoch in itertools.count():
            plan = self.plan(epoch)
            for index, step in enumerate(plan, start=1):
                yield epoch + index / len(plan), step

    def digest(self) -> str:
        """Name data and settings: a checkpoint goes on only under the same."""
        digest = hashlib.sha256()
        skipped = {"dataset", "output", "sample_prompts", "save_every_steps"}
        digest.update(self.spec.model_dump_json(exclude=skipped).encode())
        for sample in self.samples:
            digest.update(repr((sample.ids, sample.labels)).encode())
        return digest.hexdigest()


def train_loop(training: Training) -> dict[str, float]:
    """Train to the last step and return the final metrics.

    Raises:
        EngineError: non_finite_loss, before the step that would have spoilt the weights.
        StopRequested: after a checkpoint of the last whole step.
    """
    training.at = _begin(training)
    meter = _Meter(training, training.at.step)
    try:
        for number, epochs, step in training.steps_from(training.at.step):
            meter.report(epochs, _step(training, number, step))
            _measure_and_keep(training, meter)
    finally:
        # A stop, and a fault as well, keeps what was learnt: a retry can go on from there.
        if 0 < training.at.step < training.num_steps:
            with training.gate.shield():
                _keep(training)
    return training.final_metrics


def evaluate(training: Training) -> float:
    """Return the mean loss of the held-out samples, in nats per supervised token."""
    lengths = [count_own(sample, training.shared) for sample in training.held]
    budget = Budget(training.budget.micro_tokens, training.budget.micro_tokens)
    training.model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for step in plan_epoch(lengths, budget, seed=0, epoch=0):
            batch = _collate(training, training.held, step[0])
            total += float(_loss_sum(training.model, batch))
            count += batch.num_supervised
    return total / count


def _begin(training: Training) -> Progressed:
    digest = training.digest()
    if training.resume_from is None:
        return Progressed(step=0, plan_digest=digest)
    at = load_checkpoint(
        training.resume_from, training.model, training.optimizer, plan_digest=digest
    )
    print(f"Going on from step {at.step}.", flush=True)
    return at


def _step(training: Training, number: int, step: Step) -> dict[str, float]:
    """Take one optimizer step; return loss, rate, gradient norm and token counts."""
    spec, model = training.spec, training.model
    model.train()
    batches = [_collate(training, training.trained, micro) for micro in step]
    num_supervised = sum(batch.num_supervised for batch in batches)
    training.optimizer.zero_grad(set_to_none=True)
    loss = 0.0
    for batch in batches:
        part = _loss_sum(model, batch) / num_supervised
        part.backward()
        loss += float(part.detach())
    norm = float(torch.nn.utils.clip_grad_norm_(training.parameters, spec.max_grad_norm))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise _not_finite(number + 1, batches)
    rate = get_learning_rate(
        number,
        training.num_steps,
        peak=spec.learning_rate,
        warmup_ratio=spec.warmup_ratio,
        schedule=spec.schedule,
    )
    set_learning_rate(training.optimizer, rate)
    with training.gate.shield():  # weights and count change together, or not at all
        training.optimizer.step()
        training.at = replace(training.at, step=number + 1)
    return {
        "loss": loss,
        "learning_rate": rate,
        "grad_norm": norm,
        "num_tokens": float(sum(batch.num_tokens for batch in batches)),
        "num_supervised": float(num_supervised),
    }


def _collate(training: Training, samples: Sequence[Rendered], indexes: Sequence[int]) -> Batch:
    chosen = [samples[index] for index in indexes]
    return collate(chosen, training.device, shared=training.shared)


def _loss_sum(model: PeftModel, batch: Batch) -> torch.Tensor:
    base = model.get_base_model()
    head_VE = head_weight(base)
    with _mixed_precision(model, head_VE):
        hidden_1TE = base.get_decoder()(
            input_ids=batch.ids_1T,
            position_ids=batch.positions_1T,
            use_cache=False,
            layout=batch.layout,
        ).last_hidden_state
    return sft_loss_sum(hidden_1TE[0, batch.source_S], head_VE, batch.target_S)


def _mixed_precision(model: PeftModel, head_VE: torch.Tensor) -> AbstractContextManager[object]:
    """Compute in the base's precision: on a bf16 base, a float32 adapter is cast in its use."""
    stack = ExitStack()
    if head_VE.dtype == torch.bfloat16:
        stack.enter_context(disable_input_dtype_casting(model))
        stack.enter_context(torch.autocast(head_VE.device.type, dtype=torch.bfloat16))
    return stack


def _measure_and_keep(training: Training, meter: "_Meter") -> None:
    spec, step = training.spec, training.at.step
    is_last = step == training.num_steps
    if training.held and (step % spec.eval_every_steps == 0 or is_last):
        meter.report_evaluation(evaluate(training))
        training.on_evaluated(step)
    if step % spec.save_every_steps == 0 and not is_last:
        with training.gate.shield():
            _keep(training)


def _keep(training: Training) -> None:
    step = training.at.step
    if (training.run_dir / "checkpoints" / f"step-{step}").exists():
        return
    folder = save_checkpoint(training.run_dir, training.model, training.optimizer, training.at)
    training.emitter.artifact(
        folder.name,
        "checkpoint",
        path=str(folder.relative_to(training.run_dir)),
        size_bytes=measure_folder(folder),
        step=step,
    )


def _not_finite(step: int, batches: Sequence[Batch]) -> EngineError:
    rows = [row + 1 for batch in batches for row in batch.rows]
    told = ", ".join(map(str, rows[:_ROWS_TOLD])) + (" ..." if len(rows) > _ROWS_TOLD else "")
    return EngineError(
        Reason.NON_FINITE_LOSS,
        f"Loss or gradient is not a finite number at step {step} (dataset rows {told}): "
        "lower learning_rate, or look at those rows. The weights were not touched by that step.",
    )


class _Meter:
    """Says how fast and how far."""

    def __init__(self, training: Training, first: int) -> None:
        self._training = training
        self._first = first
        self._begun = self._last = time.monotonic()

    def report(self, epochs: float, values: dict[str, float]) -> None:
        """Emit one step's metrics and progress, and log one line."""
        step = self._training.at.step
        now = time.monotonic()
        elapsed = max(1e-9, now - self._last)
        self._last = now
        speed = values.pop("num_tokens") / elapsed
        metrics = {
            "supervised_tokens_per_s": values.pop("num_supervised") / elapsed,
            "tokens_per_s": speed,
            **values,
            "memory_bytes": float(_read_peak_bytes(self._training.device)),
            "epoch": epochs,
        }
        self._training.final_metrics |= metrics
        self._training.emitter.metric(step, metrics)
        total = self._training.num_steps
        eta_s = (now - self._begun) / (step - self._first) * (total - step)
        self._training.emitter.progress("train", step, total, unit="step", eta_s=eta_s)
        print(
            f"step {step}/{total}  loss {values['loss']:.4f}  "
            f"learning rate {values['learning_rate']:.2e}  {speed:.0f} tokens/s",
            flush=True,
        )

    def report_evaluation(self, loss: float) -> None:
        """Emit and log the loss of the held-out samples."""
        step = self._training.at.step
        self._last = time.monotonic()  # the next step's speed is its own
        self._training.final_metrics["eval_loss"] = loss
        self._training.emitter.metric(step, {"eval_loss": loss})
        print(f"step {step}  evaluation loss {loss:.4f}", flush=True)


def _read_peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
