"""A GGUF file is served as it is: the 4-bit numbers that it holds are those that are multiplied."""

from pathlib import Path

import pytest
import torch
from gguf import GGMLQuantizationType as GgmlType

from engine.errors import EngineError
from engine.models.gguf import describe_gguf, import_gguf
from engine.serve.backend import Sampling
from engine.serve.decoder.families import read_model
from engine.serve.decoder.operations import dequantize
from tests.engine.serve.tiny_models import ask, open_backend
from tests.engine.write_gguf import write_tiny

LONG = Sampling(max_tokens=24, temperature=0)
ASKED = ({"role": "user", "content": "Hello"},)


@pytest.mark.parametrize("kind", [GgmlType.Q4_0, GgmlType.Q4_1])
def test_layers_keep_the_numbers_of_the_file(tmp_path, kind):
    source = write_tiny(tmp_path / "tiny.gguf", kind=kind)
    import_gguf(source, tmp_path / "floats")
    describe_gguf(source, tmp_path / "described")
    _, floats = read_model(tmp_path / "floats", dtype=torch.float32)
    _, served = read_model(tmp_path / "described", dtype=torch.float32)
    for theirs, ours in zip(floats.layers, served.layers, strict=True):
        for name in ("query", "key", "value", "output"):
            linear = getattr(ours, name)
            assert linear.kind == "int4"
            found = dequantize(linear, torch.float32).bfloat16().float()
            wanted = getattr(theirs, name).weight
            torch.testing.assert_close(found, wanted, atol=1e-3, rtol=8e-3)
        assert ours.feed_forward.down.kind == "int4"


def test_a_file_or_a_folder_with_one_answers_as_its_import_does(tmp_path):
    (tmp_path / "here").mkdir()
    source = write_tiny(tmp_path / "here" / "tiny.gguf")
    import_gguf(source, tmp_path / "floats")
    answers = []
    for path in (source, source.parent, tmp_path / "floats"):
        with open_backend(path) as backend:
            answers.append(ask(backend, str(path), LONG, ASKED))
    assert answers[0] == answers[1] == answers[2] != ""


def test_what_is_no_such_file_is_refused_by_name(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF and nothing that follows from it")
    with (
        pytest.raises(EngineError, match=r"model: .*broken\.gguf is no GGUF file"),
        open_backend(broken),
    ):
        pass
    odd = write_tiny(tmp_path / "odd.gguf", without="model.norm.weight")
    with pytest.raises(EngineError, match=r"no tensor for model\.norm\.weight"), open_backend(odd):
        pass


def test_a_cut_off_file_is_refused(tmp_path):
    whole = write_tiny(tmp_path / "whole.gguf")
    for share in (0.2, 0.6, 0.99):
        cut = tmp_path / "cut.gguf"
        cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
        with pytest.raises(EngineError, match=r"model: .*cut\.gguf"), open_backend(Path(cut)):
            pass
