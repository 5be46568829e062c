"""What may be seen of the hub. A stranger's private repo is not there."""

from typing import Literal

from engine.specs.estimate import DataFacts, ModelShape
from engine.specs.messages import DatasetReport
from studio.accounts.models import User
from studio.hub.models import Commit


def resolve_revision(viewer: User, ref: str, *, kind: Literal["model", "dataset"]) -> Commit:
    """Return the commit that `namespace/name[@revision]` names."""
    raise NotImplementedError


def get_model_shape(commit: Commit) -> ModelShape:
    """Return the sizes of a base model."""
    raise NotImplementedError


def get_dataset_report(commit: Commit) -> DatasetReport:
    """Return what the check of the dataset's file found."""
    raise NotImplementedError


def get_data_facts(commit: Commit) -> DataFacts:
    """Return the size of a dataset."""
    raise NotImplementedError
