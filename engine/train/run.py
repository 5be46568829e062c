"""The train verb: fetch, render, train, evaluate, write the adapter and push it."""

from contextlib import ExitStack, closing
from pathlib import Path

import torch

from engine.card import Provenance, write_card
from engine.data.contract import count_rows
from engine.data.prepare import Located, Preparation, Samples, prepare_samples
from engine.data.render import Renderer
from engine.emitter import ArtifactRole, Emitter
from engine.errors import EngineError
from engine.hub import Resolved, fetch_repo, push_folder
from engine.models.load import DTYPES, load_bare_tokenizer, pick_device
from engine.ranks import get_local_rank, is_elastic, is_first_rank
from engine.specs import JobSpec, Placement, TrainSpec
from engine.specs.sources import Source
from engine.status import Reason
from engine.stopping import StopGate
from engine.train.board import Board
from engine.train.checkpoint import (
    Progressed,
    list_checkpoints,
    take_snapshot,
    write_weights,
)
from engine.train.loop import Training, train_loop
from engine.train.mesh import Mesh, open_mesh
from engine.train.optim import Optimizers
from engine.train.prepare import prepare_trainee
from engine.train.sample import write_greedily
from engine.train.start import open_start, open_tokenizer
from engine.train.trainee import Trainee

_SAMPLE_TOKENS = 64


def train(spec: JobSpec, placement: Placement, emitter: Emitter, gate: StopGate) -> None:
    """Do a TrainSpec's work in a placement's run directory.

    Raises:
        EngineError: with the reason and the mend, for whatever the owner can mend.
        StopRequested: when asked to stop; a checkpoint of the last step is kept.
    """
    assert isinstance(spec, TrainSpec)
    mesh = open_mesh(spec.parallel, _pick_device(spec, placement))
    _seed(spec.seed, placement.num_threads // mesh.options.num_processes)
    with ExitStack() as stack:
        if mesh.is_first:  # it speaks for all
            board = stack.enter_context(closing(Board(placement.run_dir)))
            _train(spec, placement, emitter.beside(board), gate, mesh)
        else:
            _train(spec, placement, Emitter(), gate, mesh)
    mesh.close()


def _train(
    spec: TrainSpec, placement: Placement, emitter: Emitter, gate: StopGate, mesh: Mesh
) -> None:
    data_at = fetch_repo(spec.dataset, "dataset", placement, emitter)
    sources = _locate(spec, data_at, placement, emitter)
    base_at = open_start(spec, sources, placement, mesh, emitter)
    renderer = Renderer(open_tokenizer(base_at.path, spec), max_length=spec.max_length)
    samples = _prepare(spec, sources, renderer, placement, emitter)
    if mesh.is_first:
        print(f"Loading {base_at.ref} in {spec.precision} on {mesh.device}", flush=True)
    trainee = prepare_trainee(base_at.path, spec, mesh, samples)

    def show_samples(step: int) -> None:
        for prompt in spec.sample_prompts:
            ids = renderer.render_opening(prompt, is_turn=spec.stage != "pretrain")
            text = write_greedily(trainee, renderer, ids, max_tokens=_SAMPLE_TOKENS)
            emitter.sample(step, prompt, text)

    training = Training(
        spec=spec,
        trainee=trainee,
        samples=samples,
        mesh=mesh,
        run_dir=placement.run_dir,
        emitter=emitter,
        gate=gate,
        resume_from=placement.resume_from or _find_own(placement.run_dir, mesh),
        on_evaluated=show_samples,
    )
    metrics = train_loop(training) | {"step": float(training.at.step)}
    training.optimizers.zero_grad()
    del training  # gradients and moments: three times the weights, which a copy is taken of now
    made = Provenance(
        spec=spec,
        base=base_at,
        dataset=data_at,
        metrics=metrics,
        device=_name_device(mesh.device),
        counts=count_rows(samples.contract),
        names=placement.provenance,
    )
    _deliver(trainee, made, placement, emitter, mesh)


def _pick_device(spec: TrainSpec, placement: Placement) -> torch.device:
    """Return this process's own GPU, or the CPU where the placement names none."""
    wanted, given = spec.parallel.num_processes, placement.devices
    if given and get_local_rank() >= len(given):
        raise EngineError(
            Reason.BAD_SPEC,
            f"parallel: it asks for {wanted} processes and the run has {len(given)} GPUs: lower "
            "it, or take a flavor with as many.",
        )
    return pick_device(given[get_local_rank() :])


def _find_own(run_dir: Path, mesh: Mesh) -> Path | None:
    """Return the run's own last checkpoint, for processes that torchrun has started anew."""
    if not is_elastic():
        return None
    found = list_checkpoints(run_dir) if mesh.is_first else []
    told = mesh.gather(dict(enumerate(found[-1:])))  # all of them go on from one
    return told.get(0)


def _seed(seed: int, num_threads: int) -> None:
    if num_threads:
        torch.set_num_threads(num_threads)
    torch.manual_seed(seed)


def _locate(
    spec: TrainSpec, dataset: Resolved, placement: Placement, emitter: Emitter
) -> list[Located]:
    """Return all sources, fetched."""
    located = [Located(Source(repo=dataset.ref), dataset.path)]
    for source in spec.mixture:
        located.append(Located(source, fetch_repo(source.repo, "dataset", placement, emitter).path))
    return located


def _prepare(
    spec: TrainSpec,
    located: list[Located],
    renderer: Renderer,
    placement: Placement,
    emitter: Emitter,
) -> Samples:
    """Read and render all sources.

    Raises:
        EngineError: bad_data, also where the rows are not what the stage learns from.
    """
    where = placement.cache_dir or placement.run_dir / "data"
    how = Preparation(
        cache_dir=where / "tokenized",
        run_dir=placement.run_dir if is_first_rank() else None,
        max_bad_fraction=spec.max_bad_fraction,
        num_workers=placement.num_threads,
    )
    samples = prepare_samples(located, renderer, how, emitter)
    wants_pairs = spec.stage in ("dpo", "reward")
    if wants_pairs and not samples.is_pairs:
        raise EngineError(
            Reason.BAD_DATA,
            f"dataset: stage {spec.stage} learns from pairs of answers, and this dataset has none: "
            "bring rows with prompt, chosen and rejected.",
        )
    if not wants_pairs:
        samples.to_singles()
    return samples


def _deliver(
    trainee: Trainee, made: Provenance, placement: Placement, emitter: Emitter, mesh: Mesh
) -> None:
    """Write what was learnt, and push it. Every process gives its part; the first writes."""
    snapshot = take_snapshot(trainee, Optimizers([]), Progressed(step=0, plan_digest=""), mesh)
    if not mesh.is_first:
        return
    folder = placement.run_dir / "out"
    role: ArtifactRole = "adapter" if trainee.is_adapted else "model"
    emitter.progress("save", 0, 1)
    dtype = DTYPES[getattr(made.spec, "precision", "fp32")]  # what it was computed in
    size_bytes = write_weights(trainee, snapshot, folder, dtype=dtype)
    if not trainee.is_adapted:
        _save_tokenizer(made, folder)
    write_card(folder, made)
    emitter.progress("save", 1, 1)
    emitter.artifact("out", role, path="out", size_bytes=size_bytes)
    push_folder(folder, role, placement, emitter)


def _save_tokenizer(made: Provenance, folder: Path) -> None:
    tokenizer = load_bare_tokenizer(made.base.path)
    if isinstance(made.spec, TrainSpec) and made.spec.context.max_position is not None:
        tokenizer.model_max_length = made.spec.context.max_position
    tokenizer.save_pretrained(folder)


def _name_device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
