"""Makes a model ready to be trained: loaded, adapted or unfrozen, checked, spread, compiled."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from engine.data.samples import Sample
from engine.models.decoder import head_weight
from engine.models.float8 import require_fp8
from engine.models.load import has_fast_bf16, load_base
from engine.models.lora import add_adapter
from engine.models.scratch import make_start
from engine.runtime import keep_freed_memory
from engine.specs import TrainSpec
from engine.train.attention import PACKED
from engine.train.fp8 import use_fp8
from engine.train.fuse import fuse_rows
from engine.train.likeness import check_alone, check_likeness, pick_attention
from engine.train.mesh import Mesh
from engine.train.pipeline import cut_layers
from engine.train.spread import spread
from engine.train.stages import make_stage
from engine.train.trainee import Trainee


def prepare_trainee(
    folder: Path, spec: TrainSpec, mesh: Mesh, samples: Sequence[Sample]
) -> Trainee:
    """Open the base model in a folder and make of it what a spec trains.

    Raises:
        EngineError: bad_model or bad_spec, where the model is not one this trainer can train so.
    """
    if spec.precision == "fp8":
        require_fp8(mesh.device)
    is_full = spec.method == "full"
    precision = "fp32" if is_full else spec.precision  # what is trained is kept in fp32
    if spec.from_scratch is not None:
        base = make_start(folder, seed=spec.seed, attention=PACKED).to(mesh.device)
    else:
        base = load_base(
            folder,
            precision=precision,
            device=mesh.device,
            attention=pick_attention(folder),
            quantize="nf4" if spec.method == "qlora" else None,
            context=spec.context,
        )
    packs_rows = check_likeness(base, samples, mesh.device)
    if not packs_rows:
        check_alone(spec)
    trainee = make_trainee(base, spec)
    trainee.packs_rows = packs_rows
    if mesh.is_first:
        _tell_size(trainee)
    return ready(trainee, spec, mesh)


def make_trainee(base: Any, spec: TrainSpec) -> Trainee:
    """Make of a loaded base what a spec trains: its adapter, or all of it. Changes it in place."""
    model, head_VE = base, head_weight(base)
    is_bf16 = head_VE.dtype == torch.bfloat16
    if spec.method == "full":
        base.requires_grad_(True)
    else:
        has_head = spec.stage != "reward"
        model = add_adapter(base, spec.lora, seed=spec.seed, has_head=has_head)
    if spec.method == "full":
        is_bf16 = spec.precision != "fp32" and has_fast_bf16(head_VE.device)
    stage = make_stage(spec, width=head_VE.shape[1], device=head_VE.device)
    return Trainee(model, torch.bfloat16 if is_bf16 else torch.float32, stage)


def ready(trainee: Trainee, spec: TrainSpec, mesh: Mesh) -> Trainee:
    """Have layers be shared out, recompute, compile and spread as a spec says, in place."""
    cut_layers(trainee, mesh)
    trainee.offloads = spec.offload in ("activations", "both")
    if spec.precision == "fp8":
        use_fp8(trainee.layers)
    _recompute(trainee, spec.activation_checkpointing)
    if not spec.compile and trainee.compute_dtype == torch.bfloat16:  # compiled layers fuse theirs
        fuse_rows(trainee.base)
    if mesh.device.type == "cpu":
        keep_freed_memory()
    if spec.compile:
        for layer in trainee.layers:
            layer.compile(dynamic=True)
    return spread(trainee, mesh)


def _recompute(trainee: Trainee, which: str) -> None:
    """Have layers keep their input alone for the backward pass: every second, or all."""
    if which == "none":
        return
    options = {"use_reentrant": False}
    trainee.base.gradient_checkpointing_enable(gradient_checkpointing_kwargs=options)
    for number, layer in enumerate(trainee.layers):
        layer.gradient_checkpointing = which == "full" or number % 2 == 0  # type: ignore[assignment]


def _tell_size(trainee: Trainee) -> None:
    num_trained = sum(p.numel() for p in trainee.parameters() if p.requires_grad)
    num_all = sum(p.numel() for p in trainee.parameters())
    share = num_trained / num_all
    print(f"Training {num_trained:,} of {num_all:,} parameters ({share:.2%})", flush=True)
    if not trainee.packs_rows:
        print(
            "This model lets one sample see another in a row: each goes through it alone, which is "
            "right and slower.",
            flush=True,
        )
