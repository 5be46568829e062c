"""The train verb: fetch, render, train, evaluate, write the adapter and push it."""

import torch
from peft import PeftModel

from engine.card import Provenance, write_card
from engine.data.contract import count_rows
from engine.data.prepare import Located, Preparation, Samples, prepare_samples
from engine.data.render import Renderer
from engine.emitter import Emitter
from engine.hub import Resolved, fetch_repo, push_folder
from engine.models.load import load_base, load_tokenizer, pick_device
from engine.models.lora import add_adapter
from engine.specs import JobSpec, Placement, TrainSpec
from engine.specs.sources import Source
from engine.stopping import StopGate
from engine.train.attention import PACKED
from engine.train.checkpoint import save_adapter
from engine.train.likeness import check_likeness
from engine.train.loop import Training, train_loop
from engine.train.sample import answer_greedily

_SAMPLE_TOKENS = 64


def train(spec: JobSpec, placement: Placement, emitter: Emitter, gate: StopGate) -> None:
    """Do a TrainSpec's work in a placement's run directory.

    Raises:
        EngineError: with the reason and the mend, for whatever the owner can mend.
        StopRequested: when asked to stop; a checkpoint of the last step is kept.
    """
    assert isinstance(spec, TrainSpec)
    device = pick_device(placement.devices)
    _seed(spec.seed, placement.num_threads)
    base_at = fetch_repo(spec.model, "model", placement, emitter)
    data_at = fetch_repo(spec.dataset, "dataset", placement, emitter)
    renderer = Renderer(load_tokenizer(base_at.path), max_length=spec.max_length)
    samples = _prepare(data_at, renderer, placement, emitter)
    print(f"Loading {spec.model} in {spec.precision} on {device}", flush=True)
    base = load_base(base_at.path, precision=spec.precision, device=device, attention=PACKED)
    check_likeness(base, samples.to_singles(), device)
    model = add_adapter(base, spec.lora, seed=spec.seed)
    model.print_trainable_parameters()

    def show_samples(step: int) -> None:
        for prompt in spec.sample_prompts:
            text = answer_greedily(model, renderer, prompt, max_tokens=_SAMPLE_TOKENS)
            emitter.sample(step, prompt, text)

    training = Training(
        spec=spec,
        model=model,
        samples=samples.to_singles(),
        device=device,
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
        counts=count_rows(samples.contract),
        names=placement.provenance,
    )
    _deliver(model, made, placement, emitter)


def _seed(seed: int, num_threads: int) -> None:
    if num_threads:
        torch.set_num_threads(num_threads)
    torch.manual_seed(seed)


def _prepare(
    dataset: Resolved, renderer: Renderer, placement: Placement, emitter: Emitter
) -> Samples:
    where = placement.cache_dir or placement.run_dir
    return prepare_samples(
        [Located(Source(repo=dataset.ref), dataset.path)],
        renderer,
        Preparation(
            cache_dir=where / "tokenized",
            run_dir=placement.run_dir,
            num_workers=placement.num_threads,
        ),
        emitter,
    )


def _deliver(model: PeftModel, made: Provenance, placement: Placement, emitter: Emitter) -> None:
    folder = placement.run_dir / "out"
    emitter.progress("save", 0, 1)
    size_bytes = save_adapter(model, folder)
    write_card(folder, made)
    emitter.progress("save", 1, 1)
    emitter.artifact("out", "adapter", path="out", size_bytes=size_bytes)
    push_folder(folder, "adapter", placement, emitter)


def _name_device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"
