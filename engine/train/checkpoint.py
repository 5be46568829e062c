"""Checkpoints: what is trained in a format others read, and what an exact resume needs beside it.

A checkpoint appears under its name only when it is whole and on disk; a kill at any moment leaves
the earlier one usable. It holds whole tensors by name, so that a run may go on with other numbers
of processes. Each step draws its randomness from seed and step: none of it is kept.
"""

import copy
import itertools
import json
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from engine.emitter import measure_folder
from engine.errors import EngineError
from engine.models.shards import join_shards, order_by_rank
from engine.status import Reason
from engine.train.mesh import Mesh
from engine.train.optim import Optimizers
from engine.train.stages import Reward
from engine.train.trainee import Trainee

ADAPTER_FILE = "adapter_model.safetensors"
MODEL_FILE = "model.safetensors"
_STATE_FILE = "trainer.pt"
# What a file that was cut short or written over makes json, torch and safetensors say.
_BROKEN = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    RuntimeError,
    pickle.UnpicklingError,
    SafetensorError,
)
_HEADS = {"stage.score.weight": "score.weight"}
"""What a stage adds to a model, by its name in the trainee and in files."""


@dataclass(frozen=True)
class Progressed:
    """Where a run stands: everything else follows from the spec and the data."""

    step: int
    """Optimizer steps done."""
    plan_digest: str
    """Of samples and settings; a resume under others is refused."""


@dataclass(frozen=True)
class Snapshot:
    """Whole copies on the CPU of all that a checkpoint holds, taken between two steps."""

    weights: dict[str, Tensor]
    """What is trained, by its name in the trainee."""
    stored: dict[str, Tensor]
    """What the weights' file holds: an adapter by peft's names, or a whole model by its own."""
    moments: list[dict[str, dict[str, Any]]]
    """For each optimizer its state by parameter."""
    at: Progressed


def take_snapshot(trainee: Trainee, optimizers: Optimizers, at: Progressed, mesh: Mesh) -> Snapshot:
    """Copy what is trained, and what its optimizers remember. Every process of a mesh calls it.

    The first process gets all of it, the others what they happen to have, and nothing for a file.
    """
    named = dict(list_trained(trainee))
    names = {id(parameter): name for name, parameter in named.items()}
    found: dict[_Place, Tensor] = {}
    for place, value in _list_all(trainee, named, names, optimizers):
        whole = _copy_whole(value, keep=mesh.speaks_for_stage)
        if whole is not None:
            shard = trainee.fused.get(place[1]) if whole.ndim else None
            if shard is not None:
                whole = join_shards(whole.chunk(mesh.options.tensor), shard)
            found[place] = whole
    weights: dict[str, Tensor] = {}
    frozen: dict[str, Tensor] = {}
    moments: list[dict[str, dict[str, Any]]] = [{} for _ in optimizers.parts]
    for (part, name, key), value in mesh.bring_to_first(found).items():
        if part >= 0:
            moments[part].setdefault(name, {})[key] = value
        else:
            (weights if part == _TRAINED else frozen)[name] = value
    stored = _name_for_file(trainee, weights, frozen) if mesh.is_first else {}
    return Snapshot(weights, stored, moments, at)


_TRAINED, _FROZEN = -1, -2
_Place = tuple[int, str, str]
"""Number of an optimizer or one of the two above, name of a parameter, name of its moment."""


def _list_all(
    trainee: Trainee,
    named: dict[str, torch.nn.Parameter],
    names: dict[int, str],
    optimizers: Optimizers,
) -> Iterator[tuple[_Place, Tensor]]:
    """Yield all that a checkpoint holds of this process's, by its place; in the same order for all.

    A whole model's file has what is frozen as well.
    """
    for number, parameter, moments in optimizers.read_moments():
        for key, value in moments.items():
            yield (number, names[id(parameter)], key), value
    for name, parameter in named.items():
        yield (_TRAINED, name, ""), parameter
    if not trainee.is_adapted:
        for name, parameter in trainee.named_parameters():
            if name not in named and name not in _HEADS:
                yield (_FROZEN, name, ""), parameter


def list_trained(trainee: Trainee) -> list[tuple[str, torch.nn.Parameter]]:
    """Return the parameters that training changes, with their names, in the model's own order."""
    return [pair for pair in trainee.named_parameters() if pair[1].requires_grad]


class Keeper:
    """Writes one process's checkpoints behind the training's back, one at a time."""

    def __init__(self, run_dir: Path, trainee: Trainee, *, num_kept: int) -> None:
        """Keep the last `num_kept` below `run_dir`."""
        self._run_dir = run_dir
        self._trainee = trainee
        self._num_kept = num_kept
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._going: Future[Path] | None = None

    def begin(self, snapshot: Snapshot) -> Path | None:
        """Have a snapshot written; return the folder of the one before, once that is on disk.

        Raises:
            OSError: that one could not be written.
        """
        before = self.finish()
        self._going = self._thread.submit(self._write, snapshot)
        return before

    def finish(self, *, only_if_done: bool = False) -> Path | None:
        """Wait for what is being written and return its folder; None where nothing is.

        Raises:
            OSError: it could not be written.
        """
        going = self._going
        if going is None or (only_if_done and not going.done()):
            return None
        self._going = None
        return going.result()

    def _write(self, snapshot: Snapshot) -> Path:
        def fill(draft: Path) -> None:
            write_weights(self._trainee, snapshot, draft)
            state: dict[str, Any] = {"moments": snapshot.moments}
            if self._trainee.is_adapted:  # whose file has peft's names and not ours
                state["weights"] = snapshot.weights
            torch.save(state, draft / _STATE_FILE)
            (draft / "progress.json").write_text(json.dumps(asdict(snapshot.at)))

        folder = _write_whole(self._run_dir / "checkpoints" / f"step-{snapshot.at.step}", fill)
        for old in list_checkpoints(self._run_dir)[: -self._num_kept]:
            shutil.rmtree(old)
        return folder


def write_weights(
    trainee: Trainee, snapshot: Snapshot, folder: Path, *, dtype: torch.dtype = torch.float32
) -> int:
    """Write an adapter in peft's format, or a model in Hugging Face's; return the size in bytes.

    A model's weights are written as `dtype`; an adapter's stay float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name, stored = ADAPTER_FILE, snapshot.stored
    if not trainee.is_adapted:
        name, stored = MODEL_FILE, {key: value.to(dtype) for key, value in stored.items()}
    save_file(stored, folder / name, metadata={"format": "pt"})
    is_reward = isinstance(trainee.stage, Reward)
    if trainee.is_adapted:
        config = copy.copy(trainee.model.peft_config["default"])
        config.inference_mode = True
        if is_reward:
            config.task_type = "SEQ_CLS"
            config.modules_to_save = [*(config.modules_to_save or ()), "score"]
        config.save_pretrained(str(folder))
    else:
        config = copy.deepcopy(trainee.model.config)
        config.architectures, config.dtype = [type(trainee.model).__name__], dtype
        if is_reward:
            name = type(trainee.model).__name__.replace("CausalLM", "SequenceClassification")
            config.architectures, config.num_labels = [name], 1
        config.save_pretrained(folder)
        if trainee.model.generation_config is not None:
            trainee.model.generation_config.save_pretrained(folder)
    return measure_folder(folder)


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Return the whole checkpoints of a run, earliest first."""
    found = (run_dir / "checkpoints").glob("step-*")
    return sorted(found, key=_get_step)


def set_aside(run_dir: Path, after: int) -> Path | None:
    """Move checkpoints of later steps than `after` out of a run's way; return where they are now.

    They are of an earlier try: the run would take them for its own, newer than what it writes.
    """
    later = [folder for folder in list_checkpoints(run_dir) if _get_step(folder) > after]
    if not later:
        return None
    around = run_dir / "checkpoints"
    place = next(
        place
        for number in itertools.count(1)
        if not (place := around / f"earlier-{number}").exists()
    )
    place.mkdir()
    for folder in later:
        folder.rename(place / folder.name)
    _sync(place)
    _sync(around)
    return place


def load_checkpoint(
    folder: Path, trainee: Trainee, optimizers: Optimizers, mesh: Mesh, *, plan_digest: str
) -> Progressed:
    """Put weights and optimizers back as they were; each process takes its own part.

    Raises:
        EngineError: bad_spec, when the checkpoint is of other data or another spec, not whole, or
            not there.
    """
    if not folder.exists():
        message = "The checkpoint to resume from is not on this node: retry the job from the start."
        raise EngineError(Reason.BAD_SPEC, message)
    try:
        at = Progressed(**json.loads((folder / "progress.json").read_text()))
        state = torch.load(folder / _STATE_FILE, weights_only=True)
        kept_moments = state["moments"]
        weights = state.get("weights") or _name_as_here(load_file(folder / MODEL_FILE))
    except _BROKEN as error:
        raise _refuse(folder, "is not whole") from error
    if at.plan_digest != plan_digest:
        raise _refuse(folder, "was made with another dataset or another spec")
    named = dict(list_trained(trainee))
    if not named.keys() <= weights.keys():
        raise _refuse(folder, "is not whole")

    def take_own(name: str, value: Any) -> Any:
        shard = trainee.fused.get(name)
        if shard is not None and isinstance(value, Tensor) and value.ndim:
            value = order_by_rank(value, shard, mesh.options.tensor)
        return _take_own(value, named[name])

    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(take_own(name, weights[name]))
    for part, kept in enumerate(kept_moments):
        for name, values in kept.items():
            if name not in named:  # it belongs to another stage of the pipeline
                continue
            moments = {key: take_own(name, value) for key, value in values.items()}
            optimizers.take_moments(part, named[name], moments)
    return at


def _get_step(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _name_for_file(
    trainee: Trainee, weights: dict[str, Tensor], frozen: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Name what is trained as files do, and add what a whole model has beside it."""
    named = {
        name.removeprefix("model."): value for name, value in weights.items() if name not in _HEADS
    }
    heads = {_HEADS[name]: value for name, value in weights.items() if name in _HEADS}
    if trainee.is_adapted:
        for name, parameter in trainee.model.named_parameters(remove_duplicate=False):
            if parameter.requires_grad and name not in named:  # a head that is its embeddings
                named[name] = next(
                    named[other] for other, p in trainee.model.named_parameters() if p is parameter
                )
        adapter = get_peft_model_state_dict(
            trainee.model, state_dict=named, save_embedding_layers=False
        )
        adapter |= {f"base_model.model.{name}": value for name, value in heads.items()}
        return _part_shared(adapter)
    return named | heads | {name.removeprefix("model."): value for name, value in frozen.items()}


def _part_shared(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give each name memory of its own: safetensors writes no weight under two names."""
    seen: set[int] = set()
    parted = {}
    for name, value in stored.items():
        parted[name] = value.clone() if value.data_ptr() in seen else value.contiguous()
        seen.add(value.data_ptr())
    return parted


def _name_as_here(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    heads = {stored_name: name for name, stored_name in _HEADS.items()}
    return {heads.get(name, f"model.{name}"): value for name, value in stored.items()}


def _copy_whole(value: Tensor, *, keep: bool) -> Tensor | None:
    """Copy a whole tensor to the CPU; who does not keep it gives its part all the same."""
    if isinstance(value, DTensor):
        value = value.full_tensor()
    return value.detach().to("cpu", copy=True) if keep else None


def _take_own(value: Any, parameter: Tensor) -> Any:
    """Return a process's part of a whole tensor that goes with a parameter."""
    if not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value  # a count of steps, which stays where the optimizer keeps it
    value = value.to(parameter.device)
    if not isinstance(parameter, DTensor):
        return value
    return distribute_tensor(value, parameter.device_mesh, parameter.placements, src_data_rank=None)


def _write_whole(folder: Path, fill: Callable[[Path], None]) -> Path:
    """Have a folder filled beside its place, and put it there once it is on disk."""
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    fill(draft)
    for path in draft.iterdir():
        _sync(path)
    _sync(draft)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    _sync(folder.parent)
    return folder


def _refuse(folder: Path, what: str) -> EngineError:
    why = f"Checkpoint {folder.name} cannot be used, it {what}: retry the job from the start."
    return EngineError(Reason.BAD_SPEC, why)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
