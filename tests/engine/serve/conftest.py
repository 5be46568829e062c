"""Folders of the tiny model and of two adapters, made once."""

import pytest

from engine.models.tiny import save_tiny
from tests.engine.serve.tiny_models import save_adapter


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="session")
def red(tmp_path_factory):
    return save_adapter(tmp_path_factory.mktemp("adapters") / "red", seed=1)


@pytest.fixture(scope="session")
def blue(tmp_path_factory):
    return save_adapter(tmp_path_factory.mktemp("adapters") / "blue", seed=2, rank=8)
