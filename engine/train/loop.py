"""The loop: plan, step, measure, keep. What is trained, and from what, is decided outside."""

import hashlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import overload

import torch

from engine.data.batch import Batch, collate, count_attended, count_room, find_shared, silence
from engine.data.lengths import Counts, count_all_own
from engine.data.plan import Budget, Indexes, Step, plan_epoch, split_held_out
from engine.data.prepare import Samples
from engine.data.samples import Sample, get_sides
from engine.emitter import Emitter, measure_folder
from engine.errors import EngineError, StopRequested
from engine.runtime import read_peak_bytes
from engine.specs import TrainSpec
from engine.specs.flops import StepWork
from engine.status import Reason
from engine.stopping import StopGate
from engine.train.checkpoint import (
    Keeper,
    Progressed,
    list_trained,
    load_checkpoint,
    set_aside,
    take_snapshot,
)
from engine.train.matrices import sum_partial_gradients
from engine.train.mesh import Mesh
from engine.train.optim import get_learning_rate, make_optimizers
from engine.train.pipeline import Pipeline
from engine.train.roofline import Use
from engine.train.sequence import take_part
from engine.train.shares import share_out
from engine.train.spread import sum_squares
from engine.train.stages import Dpo, Key, Stage
from engine.train.trainee import Trainee

_ROWS_TOLD = 8


@dataclass(frozen=True)
class _Chosen(Sequence[Sample]):
    """Some of the samples; each is read when it is asked for."""

    samples: Sequence[Sample]
    indexes: Indexes

    def __len__(self) -> int:
        return len(self.indexes)

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> list[Sample]: ...
    def __getitem__(self, place: int | slice) -> Sample | list[Sample]:
        """Read one, or several."""
        if isinstance(place, slice):
            return [self.samples[index] for index in self.indexes[place].tolist()]
        return self.samples[int(self.indexes[place])]


@dataclass
class Training:
    """All that a run of the loop works with."""

    spec: TrainSpec
    trainee: Trainee
    samples: Sequence[Sample]
    mesh: Mesh
    run_dir: Path
    emitter: Emitter
    gate: StopGate
    resume_from: Path | None = None
    on_evaluated: Callable[[int], None] = lambda step: None
    """Called with the step after each evaluation, or when one would be due and nothing is held out;
    the model is in eval mode. By every process."""
    final_metrics: dict[str, float] = field(default_factory=dict)
    at: Progressed = field(init=False)
    kept_step: int = -1
    """The last step that was kept, or is being."""

    def __post_init__(self) -> None:
        """Split, plan, and make the optimizers."""
        spec = self.spec
        trained, held = split_held_out(len(self.samples), spec.eval_fraction, seed=spec.seed)
        packs_rows = self.trainee.packs_rows
        self.shared = find_shared(self.samples) if packs_rows else ()
        self.trained = _Chosen(self.samples, trained)
        self.held = _Chosen(self.samples, held)
        lengths = count_all_own(self.samples, self.shared)
        self.lengths, self.held_lengths = lengths[trained], lengths[held]
        self.budget = Budget(
            step_tokens=spec.tokens_per_step,
            micro_tokens=count_room(spec.micro_batch_tokens, self.shared) if packs_rows else 1,
        )
        per_epoch = len(self.plan(0))
        wanted = math.ceil(spec.num_epochs * per_epoch)
        self.num_steps = min(wanted, spec.max_steps or wanted)
        named = list_trained(self.trainee)
        self.parameters = [parameter for _, parameter in named]
        self.optimizers = make_optimizers(
            named,
            name=spec.optimizer,
            weight_decay=spec.weight_decay,
            rate_ratio=spec.lora.rate_ratio,
            on_host=spec.offload in ("optimizer", "both"),
        )
        self.pipeline = Pipeline(self.trainee, self.mesh)
        self.keeper = Keeper(self.run_dir, self.trainee, num_kept=spec.keep_checkpoints)

    def plan(self, epoch: int) -> Sequence[Step]:
        """Return the steps of an epoch."""
        seed, drawn = self.spec.seed, None
        if isinstance(self.samples, Samples):  # a mixture sees some more often than others
            drawn = self.samples.draw(self.trained.indexes, seed=seed, epoch=epoch)
        return plan_epoch(self.lengths, self.budget, seed=seed, epoch=epoch, drawn=drawn)

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
        """Name data and settings: a checkpoint goes on only under the same.

        How the work is spread, and what is recomputed, is no part of it.
        """
        digest = hashlib.sha256()
        digest.update(self.spec.model_dump_json(exclude=_NOT_LEARNT_FROM).encode())
        if isinstance(self.samples, Samples):
            digest.update(self.samples.digest().encode())
            return digest.hexdigest()
        for sample in self.samples:
            for side in get_sides(sample):
                digest.update(repr((side.ids, side.labels, side.weights)).encode())
        return digest.hexdigest()


_NOT_LEARNT_FROM = {
    "dataset",
    "output",
    "sample_prompts",
    "save_every_steps",
    "keep_checkpoints",
    "parallel",
    "compile",
    "activation_checkpointing",
    "offload",
}


def train_loop(training: Training) -> dict[str, float]:
    """Train to the last step and return the final metrics. Every process of a mesh calls it.

    Raises:
        EngineError: non_finite_loss, before the step that would have spoilt the weights.
        StopRequested: after a checkpoint of the last whole step.
    """
    training.at = _begin(training)
    meter = _Meter(training, training.at.step)
    try:
        with _stop_together(training):
            for number, epochs, step in training.steps_from(training.at.step):
                meter.report(epochs, _step(training, number, step))
                _measure_and_keep(training, meter)
                _heed_stop(training)
    except BaseException as error:
        # A stop, and a fault as well, keeps what was learnt: a retry can go on from there. A fault
        # of one process alone does not: the others are not here to give their parts.
        is_shared = isinstance(error, StopRequested | EngineError)
        if 0 < training.at.step < training.num_steps and (training.mesh.is_alone or is_shared):
            with training.gate.shield():
                _keep(training)
        raise
    finally:
        with training.gate.shield():
            _announce(training, training.keeper.finish())
    return training.final_metrics


def evaluate(training: Training) -> dict[str, float]:
    """Return `loss` and the stage's measures of the held-out samples.

    Means per supervised token, or per pair; the loss is in nats.
    """
    lengths = training.held_lengths
    budget = Budget(training.budget.micro_tokens, training.budget.micro_tokens)
    training.trainee.eval()
    stage = training.trainee.stage
    whole = stage.count(training.held)
    totals = [0.0] * (1 + len(stage.measures))
    for step in plan_epoch(lengths, budget, seed=0, epoch=0):
        batches = _read(training, training.held, lengths, step)
        seen = training.pipeline.look(batches)
        totals = [total + value for total, value in zip(totals, seen, strict=True)]
    totals = training.mesh.sum_over_rows(totals)
    return _name(stage, [total / whole for total in totals])


def _name(stage: Stage, means: Sequence[float]) -> dict[str, float]:
    """Name a mean loss and the measures behind it, with what follows from them."""
    named = dict(zip(("loss", *stage.measures), means, strict=True))
    return named | stage.derive(named)


def take_reference(training: Training) -> None:
    """Note how likely the model finds all answers before it learns anything."""
    stage = training.trainee.stage
    assert isinstance(stage, Dpo)
    training.trainee.eval()
    known: dict[Key, tuple[float, float]] = {}
    both = (training.trained, training.lengths), (training.held, training.held_lengths)
    for samples, lengths in both:
        plan = plan_epoch(lengths, training.budget, seed=0, epoch=0) if samples else []
        for step in plan:
            batches = _read(training, samples, lengths, step)
            for batch, logp_P2 in training.pipeline.read_logps(batches):
                keys = zip(batch.sources, batch.rows, strict=True)
                known |= zip(keys, map(tuple, logp_P2.tolist()), strict=True)
    stage.reference = training.mesh.gather(known)


def _begin(training: Training) -> Progressed:
    digest = training.digest()
    if training.trainee.stage.needs_reference:
        take_reference(training)
    at = Progressed(step=0, plan_digest=digest)
    if training.resume_from is not None:
        at = load_checkpoint(
            training.resume_from,
            training.trainee,
            training.optimizers,
            training.mesh,
            plan_digest=digest,
        )
    if training.mesh.is_first:
        if training.resume_from is not None:
            print(f"Going on from step {at.step}.", flush=True)
        if (place := set_aside(training.run_dir, at.step)) is not None:
            print(f"Later checkpoints of an earlier try are in {place} now.", flush=True)
    return at


def _stop_together(training: Training) -> AbstractContextManager[None]:
    """Hold a stop back where others wait for this process: all leave after the same step."""
    return nullcontext() if training.mesh.is_alone else training.gate.shield()


def _heed_stop(training: Training) -> None:
    mesh = training.mesh
    if not mesh.is_alone and mesh.agree(training.gate.is_asked):
        raise StopRequested


def _step(training: Training, number: int, step: Step) -> dict[str, float]:
    """Take one optimizer step; return loss, measures, rate, gradient norm and token counts."""
    spec, trainee = training.spec, training.trainee
    trainee.train()
    torch.manual_seed(_mix(spec.seed, number, training.mesh.reader))
    chosen = [training.trained[index] for micro in step for index in micro]
    whole = trainee.stage.count(chosen)
    training.optimizers.zero_grad()
    batches = _read(training, training.trained, training.lengths, step)
    found = _name(
        trainee.stage, training.mesh.sum_over_rows(training.pipeline.learn(batches, whole))
    )
    sum_partial_gradients(trainee, training.mesh)
    norm = math.sqrt(sum_squares(trainee, training.mesh))
    if not (math.isfinite(found["loss"]) and math.isfinite(norm)):
        raise _not_finite(training, number + 1, step)
    _clip(training.parameters, norm, spec.max_grad_norm)
    rate = get_learning_rate(
        number,
        training.num_steps,
        peak=spec.learning_rate,
        warmup_ratio=spec.warmup_ratio,
        schedule=spec.schedule,
        decay_ratio=spec.decay_ratio,
    )
    training.optimizers.set_rate(rate)
    with training.gate.shield():  # weights and count change together, or not at all
        training.optimizers.step()
        training.at = replace(training.at, step=number + 1)
    return {
        **found,
        "learning_rate": rate,
        "grad_norm": norm,
        "num_tokens": float(sum(training.lengths[list(micro)].sum() for micro in step)),
        "num_supervised": float(sum(sample.num_supervised for sample in chosen)),
        "num_attended": float(sum(count_attended(sample, training.shared) for sample in chosen)),
    }


def _read(
    training: Training, samples: Sequence[Sample], lengths: Counts, step: Step
) -> Iterator[Batch]:
    """Yield this process's micro-batches of a step, or its part of each.

    One that is left without samples reads some that teach it nothing: the others wait for it.
    """
    mesh = training.mesh
    micros = share_out(step, lengths, num_readers=mesh.num_readers, reader=mesh.reader)
    for micro in micros:
        chosen = [samples[index] for index in micro or step[0][:1]]
        batch = collate(chosen, mesh.device, shared=training.shared)
        if not micro:
            batch = silence(batch)
        yield take_part(batch, mesh)


def _mix(seed: int, step: int, reader: int) -> int:
    """Name the randomness of one step of one reader, so that a resume needs no state."""
    digest = hashlib.sha256(f"{seed}/{step}/{reader}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _clip(parameters: Sequence[torch.nn.Parameter], norm: float, most: float) -> None:
    """Scale gradients of a larger norm down to `most`."""
    if norm > most:
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        torch._foreach_mul_(grads, most / (norm + 1e-6))


def _measure_and_keep(training: Training, meter: "_Meter") -> None:
    spec, step = training.spec, training.at.step
    is_last = step == training.num_steps
    if step % spec.eval_every_steps == 0 or is_last:
        training.trainee.eval()
        if training.held:
            meter.report_evaluation(evaluate(training))
        training.on_evaluated(step)
        meter.leave_out()
    if step % spec.save_every_steps == 0 and not is_last:
        with training.gate.shield():
            _keep(training)
    _announce(training, training.keeper.finish(only_if_done=True))


def _keep(training: Training) -> None:
    """Take a snapshot of this step and begin to write it, where that was not done before."""
    step = training.at.step
    if training.kept_step == step:
        return
    training.kept_step = step
    snapshot = take_snapshot(training.trainee, training.optimizers, training.at, training.mesh)
    if training.mesh.is_first:
        _announce(training, training.keeper.begin(snapshot))


def _announce(training: Training, folder: Path | None) -> None:
    if folder is None:
        return
    training.emitter.artifact(
        folder.name,
        "checkpoint",
        path=str(folder.relative_to(training.run_dir)),
        size_bytes=measure_folder(folder),
        step=int(folder.name.removeprefix("step-")),
    )


def _not_finite(training: Training, step: int, micros: Step) -> EngineError:
    rows = [training.trained[index].row + 1 for micro in micros for index in micro]
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
        self._use = Use(training.spec, training.trainee, training.mesh)
        self._begun = self._last = time.monotonic()

    def report(self, epochs: float, values: dict[str, float]) -> None:
        """Emit one step's metrics and progress, and log one line."""
        step = self._training.at.step
        now = time.monotonic()
        elapsed = max(1e-9, now - self._last)
        self._last = now
        work = StepWork(
            *(int(values.pop(f"num_{what}")) for what in ("tokens", "attended", "supervised"))
        )
        speed = work.num_tokens / elapsed
        metrics = {
            "supervised_tokens_per_s": work.num_supervised / elapsed,
            "tokens_per_s": speed,
            **self._use.measure(work, elapsed),
            **values,
            "memory_bytes": float(_read_peak_bytes(self._training.mesh.device)),
            "epoch": epochs,
        }
        self._training.final_metrics |= metrics
        total = self._training.num_steps
        eta_s = (now - self._begun) / (step - self._first) * (total - step)
        self._training.emitter.metric(step, metrics | {"eta_s": eta_s})
        self._training.emitter.progress("train", step, total, unit="step", eta_s=eta_s)
        if not self._training.mesh.is_first:
            return
        print(
            f"step {step}/{total}  loss {values['loss']:.4f}  "
            f"learning rate {values['learning_rate']:.2e}  {speed:.0f} tokens/s",
            flush=True,
        )

    def leave_out(self) -> None:
        """Count the time since the last report for no step: the next one's speed is its own."""
        self._last = time.monotonic()

    def report_evaluation(self, found: dict[str, float]) -> None:
        """Emit and log the loss and the measures of the held-out samples."""
        step = self._training.at.step
        metrics = {f"eval_{name}": value for name, value in found.items()}
        self._training.final_metrics |= metrics
        self._training.emitter.metric(step, metrics)
        if self._training.mesh.is_first:
            print(f"step {step}  evaluation loss {found['loss']:.4f}", flush=True)


def _read_peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return read_peak_bytes()
