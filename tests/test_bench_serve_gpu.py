"""The bench of a GPU, tried on a processor with tiny models: it measures, and counts right."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from bench import serve_gpu
from bench.random_models import SIZES, count_costs, make_config, make_folder
from engine.models.internlm2 import InternLM2ForCausalLM

IDS = torch.arange(12).unsqueeze(0)


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def test_the_twin_in_llama_s_layout_says_the_same(parent):
    ours = InternLM2ForCausalLM.from_pretrained(
        make_folder(parent, "tiny", "internlm2"), dtype=torch.float32
    )
    twin = AutoModelForCausalLM.from_pretrained(
        make_folder(parent, "tiny", "llama"), dtype=torch.float32
    )
    assert type(twin).__name__ == "LlamaForCausalLM"
    with torch.no_grad():
        logits, wanted = twin(IDS).logits, ours(IDS).logits
    torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-5)
    assert wanted.std() > 0.01


def test_what_a_step_costs_is_counted_from_the_shape(parent):
    folder = make_folder(parent, "tiny", "internlm2")
    model = InternLM2ForCausalLM.from_pretrained(folder)
    matrices = [
        weight.numel()
        for name, weight in model.named_parameters()
        if weight.ndim == 2 and "embed" not in name
    ]
    norms = sum(weight.numel() for weight in model.parameters() if weight.ndim == 1)
    costs = count_costs(folder, "tiny")
    assert costs.num_weights == sum(matrices)
    assert costs.weight_bytes == 2 * (sum(matrices) + norms)
    past = model(IDS, use_cache=True).past_key_values
    kept = sum(layer.keys.numel() + layer.values.numel() for layer in past.layers)
    assert costs.kv_bytes_per_token == 2 * kept // IDS.shape[1]
    narrow = count_costs(make_folder(parent, "tiny", "internlm2-awq"), "tiny")
    head = SIZES["tiny"]["hidden_size"] * SIZES["tiny"]["vocab_size"]
    layers = sum(matrices) - head
    rounded = count_costs(folder, "tiny", is_fp8=True)
    fused = ("wqkv", "wo", "w1", "w2", "w3")
    rows = sum(
        len(weight) for name, weight in model.named_parameters() if name.split(".")[-2] in fused
    )
    assert rounded.weight_bytes == 2 * (head + norms) + layers + 4 * rows
    # Half a byte a number, and for each 32 a scale of two bytes and half a byte of zero point.
    assert narrow.weight_bytes == 2 * (head + norms) + layers / 2 + layers * 2.5 / 32


@pytest.mark.parametrize(("size", "billions"), [("1.8b", 1.89), ("7b", 7.74)])
def test_the_shapes_are_the_published_ones(size, billions):
    with torch.device("meta"):
        model = InternLM2ForCausalLM(make_config(size))
    assert sum(weight.numel() for weight in model.parameters()) / 1e9 == pytest.approx(
        billions, abs=0.005
    )


@pytest.mark.slow
def test_every_arm_that_runs_here_is_measured_and_the_other_named(parent, capsys):
    serve_gpu.main(["--tiny", "--rounds", "1", "--folder", str(parent), "--peak-gb-s", "100"])
    out = capsys.readouterr().out
    told = json.loads(out.splitlines()[-1])
    arms = ("ours-bf16", "ours-int4", "generate-batch")
    assert [(each["arm"], each["streams"]) for each in told["figures"]] == [
        (arm, streams) for arm in arms for streams in (1, 3)
    ]
    assert told["left_out"].pop("tiny lmdeploy") == "its Python is not named (--lmdeploy)"
    (left_out,) = told["left_out"].items()
    assert left_out[0] == "tiny ours-fp8" and "needs a GPU" in left_out[1]
    assert told["where"]["device"] == "cpu"
