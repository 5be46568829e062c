"""The train verb: fetch, render, train, evaluate, write the adapter and push it."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import PeftModel

from engine.card import Provenance, write_card
from engine.data.conversations import find_file, read_conversations
from engine.data.render import Rendered, Renderer
from engine.emitter import Emitter
from engine.errors import EngineError
from engine.hub import fetch_repo, push_folder
from engine.models.load import load_base, load_tokenizer, pick_device
from engine.models.lora import add_adapter
from engine.specs import JobSpec, Placement, TrainSpec
from engine.status import Reason
from engine.stopping import StopGate
from engine.train.attention import PACKED
from engine.train.checkpoint import save_adapter
from engine.train.likeness import check_likeness
from engine.train.loop import Training, train_loop
from engine.train.sample import answer_greedily

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
    device = pick_device(placement.devices)
    _seed(spec.seed, placement.num_threads)
    base_at = fetch_repo(spec.model, "model", placement, emitter)
    data_at = fetch_repo(spec.dataset, "dataset", placement, emitter)
    renderer = Renderer(load_tokenizer(base_at.path), max_length=spec.max_length)
    data = _prepare(data_at.path, renderer, emitter)
    print(f"Loading {spec.model} in {spec.precision} on {device}", flush=True)
    base = load_base(base_at.path, precision=spec.precision, device=device, attention=PACKED)
    check_likeness(base, data.samples, device)
    model = add_adapter(base, spec.lora, seed=spec.seed)
    model.print_trainable_parameters()

    def show_samples(step: int) -> None:
        for prompt in spec.sample_prompts:
            text = answer_greedily(model, renderer, prompt, max_tokens=_SAMPLE_TOKENS)
            emitter.sample(step, prompt, text)

    training = Training(
        spec=spec,
        model=model,
        samples=data.samples,
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
        counts=data.counts,
        names=placement.provenance,
    )
    _deliver(model, made, placement, emitter)


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
