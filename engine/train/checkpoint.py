"""Checkpoints: the adapter as peft reads it, and what an exact resume needs beside it.

A checkpoint appears under its name only when it is whole and on disk; a kill at any moment leaves
the earlier one usable.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file

from engine.emitter import measure_folder
from engine.errors import EngineError
from engine.status import Reason

_KEPT = 2
_ADAPTER = "adapter_model.safetensors"


@dataclass(frozen=True)
class Progressed:
    """Where a run stands: everything else follows from the spec and the data."""

    step: int
    """Optimizer steps done."""
    plan_digest: str
    """Of samples and settings; a resume under others is refused."""


def save_checkpoint(
    run_dir: Path, model: PeftModel, optimizer: torch.optim.Optimizer, at: Progressed
) -> Path:
    """Write `checkpoints/step-N`, drop all but the last two, and return its folder."""
    folder = run_dir / "checkpoints" / f"step-{at.step}"
    draft = folder.with_name(f".{folder.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    save_adapter(model, draft)
    kept = {"optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}
    if model.device.type == "cuda":  # dropout there draws from the device's own generator
        kept["device_rng"] = torch.cuda.get_rng_state(model.device)
    torch.save(kept, draft / "trainer.pt")
    (draft / "progress.json").write_text(json.dumps(asdict(at)))
    for path in draft.iterdir():
        _sync(path)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    _sync(folder.parent)
    for old in list_checkpoints(run_dir)[:-_KEPT]:
        shutil.rmtree(old)
    return folder


def save_adapter(model: PeftModel, folder: Path) -> int:
    """Write the adapter in peft's format; return its size in bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: value.contiguous().cpu() for name, value in get_peft_model_state_dict(model).items()
    }
    save_file(state, folder / _ADAPTER, metadata={"format": "pt"})
    config = model.peft_config["default"]
    config.inference_mode = True
    config.save_pretrained(str(folder))
    config.inference_mode = False
    return measure_folder(folder)


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Return the whole checkpoints of a run, earliest first."""
    found = (run_dir / "checkpoints").glob("step-*")
    return sorted(found, key=lambda path: int(path.name.removeprefix("step-")))


def load_checkpoint(
    folder: Path, model: PeftModel, optimizer: torch.optim.Optimizer, *, plan_digest: str
) -> Progressed:
    """Put model, optimizer and random state back as they were.

    Raises:
        EngineError: bad_spec, when the checkpoint is of other data or another spec, not whole, or
            not there.
    """
    if not folder.exists():
        message = "The checkpoint to resume from is not on this node: retry the job from the start."
        raise EngineError(Reason.BAD_SPEC, message)
    try:
        at = Progressed(**json.loads((folder / "progress.json").read_text()))
        state = load_file(folder / _ADAPTER)
        saved = torch.load(folder / "trainer.pt", weights_only=True)
    except (OSError, ValueError, TypeError) as error:
        raise _refuse(folder, "is not whole") from error
    if at.plan_digest != plan_digest:
        raise _refuse(folder, "was made with another dataset or another spec")
    set_peft_model_state_dict(model, state)
    optimizer.load_state_dict(saved["optimizer"])
    torch.set_rng_state(saved["rng"])
    if model.device.type == "cuda" and "device_rng" in saved:  # none where a CPU wrote it
        torch.cuda.set_rng_state(saved["device_rng"], model.device)
    return at


def _refuse(folder: Path, what: str) -> EngineError:
    message = f"Checkpoint {folder.name} {what}: retry the job from the start."
    return EngineError(Reason.BAD_SPEC, message)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
