"""A server refuses or warns below the agreement that its owner asks for."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.models.digest import digest_weights
from engine.quantize.gate import check_quality
from engine.quantize.report import write_report
from engine.serve.run import serve
from engine.specs import Placement, ServeSpec
from engine.stopping import StopGate


def spec(folder, least: float, do: str = "refuse") -> ServeSpec:
    return ServeSpec(model=str(folder), least_agreement=least, on_low_agreement=do)


def test_a_model_that_agrees_enough_is_served(quantized):
    folder, report = quantized("int8")
    assert check_quality(folder, spec(folder, report.quantized.agreement)) == ""


def test_one_that_agrees_less_is_refused_in_a_sentence_with_both_numbers(quantized):
    folder, report = quantized("rtn")
    with pytest.raises(EngineError) as refused:
        check_quality(folder, spec(folder, 0.99))
    assert f"{report.quantized.agreement:.1%}" in refused.value.message
    assert "99.0%" in refused.value.message and "lower least_agreement" in refused.value.message


def test_or_warned_of(quantized):
    folder, _ = quantized("rtn")
    warning = check_quality(folder, spec(folder, 0.99, "warn"))
    assert "RTN W4A16 g64" in warning and warning.endswith("it is served all the same.")


def test_a_server_does_not_start_with_it(quantized, tmp_path):
    folder, _ = quantized("rtn")
    with pytest.raises(EngineError, match="least_agreement"):
        serve(spec(folder, 0.99), Placement(run_dir=tmp_path), Emitter(), StopGate())


def test_a_model_that_is_not_quantized_passes(trained):
    assert check_quality(trained, spec(trained, 1.0)) == ""


def test_one_without_a_report_or_with_a_broken_one_does_not(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"quantization_config": {"bits": 4}}))
    with pytest.raises(EngineError, match="no report card"):
        check_quality(tmp_path, spec(tmp_path, 0.5))
    (tmp_path / "quantization.json").write_text("{}")
    with pytest.raises(EngineError, match="cannot be read"):
        check_quality(tmp_path, spec(tmp_path, 0.5))


def test_a_card_that_was_laid_beside_other_weights_is_not_believed(quantized, tmp_path):
    """Not even beside those of the same shapes; a card of before, without a digest, is."""
    folder, report = quantized("awq")
    shutil.copytree(folder, tmp_path / "other")
    path = tmp_path / "other" / "model.safetensors"
    tensors = load_file(path)
    tensors["model.layers.1.mlp.up_proj.qweight"] += 1
    save_file(tensors, path, metadata={"format": "pt"})
    assert path.stat().st_size == (folder / "model.safetensors").stat().st_size
    least = report.quantized.agreement / 2
    assert check_quality(folder, spec(folder, least)) == ""
    with pytest.raises(EngineError, match="has a report card of other weights: lower"):
        check_quality(path.parent, spec(path.parent, least))
    warning = check_quality(path.parent, spec(path.parent, least, "warn"))
    assert "of other weights; it is served all the same." in warning
    write_report(path.parent, report.model_copy(update={"weights_digest": ""}))
    assert check_quality(path.parent, spec(path.parent, least)) == ""


def test_weights_are_fetched_for_a_card_that_says_enough_and_for_no_other(quantized, tmp_path):
    """What the hub gives of a model without its weights has the card alone."""
    folder, report = quantized("awq")
    shutil.copytree(folder, tmp_path / "told", ignore=shutil.ignore_patterns("*.safetensors"))
    told, agreement = tmp_path / "told", report.quantized.agreement
    assert check_quality(told, spec(folder, agreement / 2), lambda: folder) == ""
    with pytest.raises(EngineError, match="of other weights"):
        check_quality(told, spec(folder, agreement / 2), lambda: told)
    with pytest.raises(EngineError, match="agrees with its base"):
        check_quality(told, spec(folder, 1.0), lambda: pytest.fail("they were fetched"))


def test_the_same_weights_by_another_name_are_the_same(quantized, tmp_path):
    folder, report = quantized("awq")
    shutil.copyfile(folder / "model.safetensors", tmp_path / "model-00001-of-00001.safetensors")
    assert digest_weights(tmp_path) == report.weights_digest


def test_nothing_is_asked_where_nothing_is_wanted(tmp_path):
    assert check_quality(tmp_path / "nowhere", spec(tmp_path, 0.0)) == ""


def test_nor_does_a_gguf_file(tmp_path):
    (tmp_path / "m.gguf").touch()
    for path in (tmp_path, tmp_path / "m.gguf"):
        with pytest.raises(EngineError, match="no report card"):
            check_quality(path, spec(path, 0.5))
