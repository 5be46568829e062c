"""What the methods cost a model whose weights never lay on a grid, end to end through the verb."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.data.prepare import Located
from engine.emitter import Emitter
from engine.quantize.calibration import SHIPPED, Windows, make_windows
from engine.quantize.report import write_section
from engine.quantize.speed import measure_speed
from engine.specs import JOB_SPEC
from engine.specs.sources import Source
from tests.engine.quantize.unpack import load_dequantized


def cut_windows(model: Path, data: Path, scratch: Path) -> Windows:
    """The windows of the fixture's runs."""
    spec = JOB_SPEC.validate_python(
        {
            "kind": "quantize",
            "model": str(model),
            "length": 64,
            "num_samples": 32,
            "num_held_out": 16,
        }
    )
    located = [Located(Source(repo=str(data)), data)]
    return make_windows(spec, model, located, scratch, Emitter(), most_positions=512)


@pytest.mark.parametrize("method", ["awq", "gptq"])
def test_four_bits_chosen_with_care_lose_less_than_four_bits_rounded(quantized, method):
    plain, chosen = quantized("rtn")[1], quantized(method)[1]
    assert plain.base_perplexity == chosen.base_perplexity
    lost = chosen.quantized.perplexity - chosen.base_perplexity
    assert lost < 0.5 * (plain.quantized.perplexity - plain.base_perplexity)
    assert chosen.quantized.agreement > plain.quantized.agreement
    assert all(c.linear < p.linear for c, p in zip(chosen.layers, plain.layers, strict=True))


@pytest.mark.parametrize(("method", "most"), [("smoothquant", 1.01), ("int8", 1.002)])
def test_eight_bits_stay_within_a_stated_share_of_the_perplexity(quantized, method, most):
    report = quantized(method)[1]
    assert 1 / most < report.perplexity_ratio < most


def test_the_report_says_what_another_way_of_measuring_says(trained, language, quantized, tmp_path):
    """Whole models, base and dequantized, on the same held-out windows."""
    folder, report = quantized("awq")
    windows = cut_windows(trained, language, tmp_path)
    base = AutoModelForCausalLM.from_pretrained(trained, dtype=torch.float32)
    rounded = load_dequantized(trained, folder)
    with torch.no_grad():
        first, second = (m(windows.held_out_WT).logits for m in (base, rounded))
    for logits, wanted in (
        (first, report.base_perplexity),
        (second, report.quantized.perplexity),
    ):
        flat = logits[:, :-1].flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(flat, windows.held_out_WT[:, 1:].flatten())
        assert float(loss.exp()) == pytest.approx(wanted, rel=2e-3)
    agreed = (first.argmax(-1) == second.argmax(-1)).float().mean()
    assert float(agreed) == pytest.approx(report.quantized.agreement, abs=0.01)


def test_the_greedy_match_is_how_far_both_write_the_same(trained, language, quantized, tmp_path):
    folder, report = quantized("awq")
    windows = cut_windows(trained, language, tmp_path)
    prompts = windows.held_out_WT[:16, :32]
    base = AutoModelForCausalLM.from_pretrained(trained, dtype=torch.float32)
    answers = [
        write_greedily(model, prompts) for model in (base, load_dequantized(trained, folder))
    ]
    same = (answers[0] == answers[1]).int().cumprod(1).sum(1).float().mean()
    assert report.greedy is not None
    assert report.greedy.of_tokens == 32
    assert float(same) == pytest.approx(report.greedy.mean_tokens, abs=1.0)


def write_greedily(model, ids: torch.Tensor) -> torch.Tensor:
    num_prompt = ids.shape[1]
    with torch.no_grad():
        for _ in range(32):
            ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], 1)
    return ids[:, num_prompt:]


def test_calibration_rows_are_never_measured_on(trained, tmp_path):
    windows = cut_windows(trained, SHIPPED, tmp_path)
    assert len(windows.calibration_WT) == 32 and len(windows.held_out_WT) == 16
    seen = {
        tuple(window) for window in windows.calibration_WT.unfold(1, 24, 8).flatten(0, 1).tolist()
    }
    held = [tuple(w) for w in windows.held_out_WT.unfold(1, 24, 8).flatten(0, 1).tolist()]
    assert not seen.intersection(held)


def test_smaller_keys_and_values_are_measured_and_one_is_recommended(quantized):
    report = quantized("gptq")[1]
    assert set(report.kv) == {"int8", "int4"}
    assert report.kv["int8"].perplexity < report.kv["int4"].perplexity
    least = report.quantized.perplexity * (1 + report.kv_bound)
    good = [name for name in ("int4", "int8") if report.kv[name].perplexity <= least]
    assert report.recommended_kv == (good[0] if good else "bf16")


def test_speed_is_measured_by_the_decoder_that_serves(quantized):
    folder, report = quantized("awq")
    assert report.speed is not None and report.speed_note == ""
    assert min(report.speed.decode_tokens_per_s, report.speed.base_decode_tokens_per_s) > 0
    assert report.speed.prefill_tokens_per_s > report.speed.decode_tokens_per_s
    assert "| decode, tokens/s |" in (folder / "README.md").read_text()


def test_a_model_too_large_to_be_opened_whole_has_no_speed_and_says_why(trained, quantized):
    folder, _ = quantized("awq")
    cpu = torch.device("cpu")
    speed, why = measure_speed(trained, folder, device=cpu, name="CPU", num_params=10**10)
    assert speed is None and why.endswith(".")


def test_sizes_are_those_of_the_files(quantized):
    folder, report = quantized("awq")
    held = (folder / "model.safetensors").stat().st_size
    assert report.size_bytes == pytest.approx(held, rel=0.1)
    assert report.size_bytes < held  # the file has a header too
    assert report.bytes_per_weight == pytest.approx(0.5 + (2 + 0.5) / report.scheme.group_size)


def test_the_card_shows_the_report_and_names_the_base(quantized):
    folder, report = quantized("awq")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert write_section(report).strip() in card
    assert f"| perplexity, quantized | {report.quantized.perplexity:.4f} |" in card
    assert "python -m engine quantize spec.yaml" in card
    assert "AWQ W4A16 g64" in card
