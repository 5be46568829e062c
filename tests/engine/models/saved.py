"""Adapters as a training leaves them, without the training."""

from pathlib import Path

import torch
from peft import PeftModel

from engine.specs.parallel import ParallelOptions
from engine.train.checkpoint import Progressed, take_snapshot, write_weights
from engine.train.mesh import Mesh
from engine.train.optim import Optimizers
from engine.train.trainee import Trainee


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write an adapter into a folder."""
    trainee = Trainee(model, torch.float32)
    mesh = Mesh(ParallelOptions(), torch.device("cpu"))
    snapshot = take_snapshot(trainee, Optimizers([]), Progressed(0, ""), mesh)
    write_weights(trainee, snapshot, folder)
