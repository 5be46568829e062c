"""The train verb: fetch, render, train, evaluate, write the adapter and push it."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.card import Provenance, write_card
from engine.data.conversations import find_file, read_conversations
from engine.data.render import Rendered, Renderer
from engine.emitter import ArtifactRole, Emitter
from engine.errors import EngineError
from engine.hub import fetch_repo, push_folder
from engine.models.load import load_tokenizer, pick_device
from engine.specs import JobSpec, Placement, TrainSpec
from engine.status import Reason
from engine.stopping import StopGate
from engine.train.checkpoint import Progressed, take_snapshot, write_weights
from engine.train.loop import Training, train_loop
from engine.train.mesh import open_mesh
from engine.train.optim import Optimizers
from engine.train.prepare import prepare_trainee
from engine.train.sample import answer_greedily
from engine.train.trainee import Trainee

_TELL_EVERY_S = 0.5
_SAMPLE_TOKENS = 64


@dataclass(frozen=True)
class _Data:
    """Samples of a dataset, and what became of its rows."""

    samples: list[Rendered]
    counts: dict[str, int]


def train(spec: JobSpec, placement: Placement, emitter: Emitter, gate: StopGate) -> None:
    """Do a TrainSpec's work in a placement's run directory.

    Raises:
        EngineError: with the reason and the mend, for whatever the owner can mend.
        StopRequested: when asked to stop; a checkpoint of the last step is kept.
    """
    assert isinstance(spec, TrainSpec)
    mesh = open_mesh(spec.parallel, pick_device(placement.devices))
    device = mesh.device
    if not mesh.is_first:  # the first speaks for all
        emitter = Emitter()
    _seed(spec.seed, placement.num_threads)
    base_at = fetch_repo(spec.model, "model", placement, emitter)
    data_at = fetch_repo(spec.dataset, "dataset", placement, emitter)
    renderer = Renderer(load_tokenizer(base_at.path), max_length=spec.max_length)
    data = _prepare(data_at.path, renderer, emitter)
    print(f"Loading {spec.model} in {spec.precision} on {device}", flush=True)
    trainee = prepare_trainee(base_at.path, spec, mesh, data.samples)

    def show_samples(step: int) -> None:
        for prompt in spec.sample_prompts:
            text = answer_greedily(trainee, renderer, prompt, max_tokens=_SAMPLE_TOKENS)
            emitter.sample(step, prompt, text)

    training = Training(
        spec=spec,
        trainee=trainee,
        samples=data.samples,
        mesh=mesh,
        run_dir=placement.run_dir,
        emitter=emitter,
        gate=gate,
        resume_from=placement.resume_from,
        on_evaluated=show_samples,
    )
    metrics = train_loop(training)
    made = Provenance(
        spec=spec,
        base=base_at,
        dataset=data_at,
        metrics={**metrics, "step": float(training.at.step)},
        device=_name_device(device),
        counts=data.counts,
        names=placement.provenance,
    )
    _deliver(trainee, made, placement, emitter, is_first=mesh.is_first)


def _seed(seed: int, num_threads: int) -> None:
    if num_threads:
        torch.set_num_threads(num_threads)
    torch.manual_seed(seed)


def _prepare(path: Path, renderer: Renderer, emitter: Emitter) -> _Data:
    """Read and render every row; one whose answers all lie beyond the cut is left out, and told."""
    conversations = read_conversations(find_file(path))
    samples: list[Rendered] = []
    told = time.monotonic()
    for row, messages in enumerate(conversations):
        samples.append(renderer.render(messages, row=row))
        if time.monotonic() - told > _TELL_EVERY_S:
            told = time.monotonic()
            emitter.progress("prepare", row + 1, len(conversations), unit="row")
    emitter.progress("prepare", len(samples), len(samples), unit="row")
    kept = [sample for sample in samples if sample.num_supervised]
    counts = {
        "num_rows": len(samples),
        "num_rows_without_answer": len(samples) - len(kept),
        "num_rows_cut": renderer.num_cut,
        "num_tokens": sum(len(sample.ids) for sample in kept),
        "num_supervised_tokens": sum(sample.num_supervised for sample in kept),
    }
    print("  ".join(f"{name.removeprefix('num_')}: {n}" for name, n in counts.items()), flush=True)
    if len(kept) < 2:
        raise EngineError(
            Reason.BAD_DATA,
            f"dataset: {len(kept)} rows have an answer within max_length and two are the least: "
            "raise max_length or add rows.",
        )
    return _Data(samples=kept, counts=counts)


def _deliver(
    trainee: Trainee, made: Provenance, placement: Placement, emitter: Emitter, *, is_first: bool
) -> None:
    """Write what was learnt, and push it. Every process gives its part; the first writes."""
    snapshot = take_snapshot(trainee, Optimizers([]), Progressed(step=0, plan_digest=""))
    if not is_first:
        return
    folder = placement.run_dir / "out"
    role: ArtifactRole = "adapter" if trainee.is_adapted else "model"
    emitter.progress("save", 0, 1)
    size_bytes = write_weights(trainee, snapshot, folder)
    write_card(folder, made)
    emitter.progress("save", 1, 1)
    emitter.artifact("out", role, path="out", size_bytes=size_bytes)
    push_folder(folder, role, placement, emitter)


def _name_device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
