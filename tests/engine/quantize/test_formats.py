"""What we write is what others read: bit by bit, and by transformers itself."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from engine.quantize.grid import Grid, round_weight
from engine.quantize.layouts import pack_linear
from engine.serve.decoder.families import read_model
from engine.serve.decoder.torch_decoder import TorchDecoder
from engine.specs.quality import Scheme
from tests.engine.quantize.unpack import load_dequantized, read_linear
from tests.engine.serve.decoder.cases import Request, run_step

GPTQMODEL = os.environ.get("ATHANOR_GPTQMODEL_PYTHON", "")
SCHEMES = {
    "awq": (Scheme(method="awq", format="awq", weight_bits=4, group_size=32), False),
    "gptq": (Scheme(method="gptq", format="gptq", weight_bits=4, group_size=32), True),
    "smoothquant": (
        Scheme(method="smoothquant", format="compressed-tensors", weight_bits=8, activation_bits=8),
        True,
    ),
    "int8": (Scheme(method="int8", format="compressed-tensors", weight_bits=8), True),
}


@pytest.mark.parametrize("method", list(SCHEMES))
def test_every_number_is_where_the_format_has_it(method):
    scheme, is_symmetric = SCHEMES[method]
    grid = Grid(scheme.weight_bits, scheme.group_size, is_symmetric)
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(2))
    made = round_weight(weight, grid)
    packed = pack_linear(made, scheme, torch.float16)
    arrays = {
        name: (tensor.float() if tensor.is_floating_point() else tensor).numpy()
        for name, tensor in packed.items()
    }
    activation = {8: "int-quantized", 16: "pack-quantized"}[scheme.activation_bits]
    config = {"quant_method": scheme.format, "group_size": 32, "format": activation}
    read = read_linear(arrays, config)
    assert np.array_equal(read.astype(np.float32), made.dequantize().numpy())


@pytest.mark.parametrize("method", ["smoothquant", "int8"])
def test_transformers_reads_ours_and_gives_our_logits(trained, quantized, method):
    folder, _ = quantized(method)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ours = load_dequantized(trained, folder)
    ids = torch.arange(3, 67)[None]
    with torch.no_grad():
        wanted, given = ours(ids).logits, theirs(ids).logits
    spread = float(wanted.std())
    # The inputs of W8A8 are rounded by theirs alone.
    most = 0.15 if method == "smoothquant" else 2e-3
    assert float((given - wanted).abs().max()) < most * spread
    assert float((given - wanted).abs().mean()) < most / 4 * spread


@pytest.mark.parametrize("method", ["awq", "gptq", "smoothquant", "int8"])
def test_our_own_decoder_reads_ours_and_gives_our_logits(trained, quantized, method):
    folder, _ = quantized(method)
    shape, weights = read_model(folder, dtype=torch.float32)
    kind = "int4" if method in ("awq", "gptq") else "int8"
    assert weights.layers[0].query.kind == kind
    decoder = TorchDecoder(shape, weights, num_blocks=8)
    ids = list(range(3, 67))
    (given,) = run_step(decoder, [(Request(ids, [5, 2, 7, 0]), 64)])
    reference = load_dequantized(trained, folder)
    if method == "smoothquant":
        round_inputs(reference)
    with torch.no_grad():
        wanted = reference(torch.tensor([ids])).logits[0]
    # A rounded input at the brink may fall to either side.
    most = 0.02 if method == "smoothquant" else 1e-4
    assert float((given - wanted).abs().max()) < most * float(wanted.std())


def round_inputs(model) -> None:
    """Have every layer's linear inputs rounded to int8, each row by its own largest value."""

    def round_rows(_, given):
        step = given[0].abs().amax(-1, keepdim=True) / 127
        return ((given[0] / step).round() * step,)

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and ".layers." in name:
            module.register_forward_pre_hook(round_rows)


@pytest.mark.parametrize("method", ["awq", "gptq", "smoothquant", "int8"])
def test_config_and_names_are_those_of_the_format(quantized, method):
    folder, report = quantized(method)
    config = json.loads((folder / "config.json").read_text())
    quantization = config["quantization_config"]
    assert quantization["quant_method"] == report.scheme.format
    assert config["dtype"] == ("float16" if method in ("awq", "gptq") else "bfloat16")
    names = set(load_file(folder / "model.safetensors"))
    parts = {
        "awq": {"qweight", "qzeros", "scales"},
        "gptq": {"qweight", "qzeros", "scales", "g_idx"},
        "smoothquant": {"weight", "weight_scale"},
        "int8": {"weight_packed", "weight_scale", "weight_shape"},
    }[method]
    module = "model.layers.1.mlp.down_proj"
    assert {name.rpartition(".")[2] for name in names if name.startswith(module)} == parts
    assert "model.embed_tokens.weight" in names and "model.norm.weight" in names
    assert (folder / "tokenizer.json").is_file() and (folder / "tokenizer_config.json").is_file()


@pytest.mark.slow
@pytest.mark.skipif(
    not GPTQMODEL, reason="ATHANOR_GPTQMODEL_PYTHON names none: docs/contributor/tests.md"
)
@pytest.mark.parametrize("method", ["awq", "gptq"])
def test_transformers_with_gptqmodel_reads_ours_and_gives_our_logits(
    trained, quantized, method, tmp_path
):
    folder, _ = quantized(method)
    ids = list(range(3, 67))
    (tmp_path / "ids.json").write_text(json.dumps(ids))
    reader = Path(__file__).parent / "foreign_reader.py"
    done = subprocess.run(
        [GPTQMODEL, reader, folder, tmp_path / "ids.json", tmp_path / "logits"],
        capture_output=True, text=True, check=False, cwd=tmp_path, env=strip_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = load_file(tmp_path / "logits")["logits"]
    with torch.no_grad():
        ours = load_dequantized(trained, folder)(torch.tensor([ids])).logits[0]
    assert float((theirs - ours).abs().max()) < 0.02 * float(ours.std())  # they multiply in float16


def strip_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.mark.parametrize("method", ["awq", "gptq"])
def test_transformers_knows_the_config_of_four_bits(quantized, method):
    """Without the library that has the kernels; with it, above."""
    from transformers import AutoConfig
    from transformers.quantizers import AutoQuantizationConfig

    config = AutoConfig.from_pretrained(quantized(method)[0])
    read = AutoQuantizationConfig.from_dict(dict(config.quantization_config))
    assert read.bits == 4 and read.group_size == 64
