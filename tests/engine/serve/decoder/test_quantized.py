"""Quantized checkpoints of every published format run as their dequantized weights do."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import EngineError
from engine.serve.decoder.families import read_model
from engine.serve.decoder.operations import apply_linear, dequantize
from engine.serve.decoder.packing import (
    pack_awq,
    pack_compressed,
    pack_compressed_zeros,
    pack_gptq,
    pack_gptq_zeros,
)
from engine.serve.decoder.torch_decoder import TorchDecoder
from engine.serve.decoder.weights import LinearWeights
from tests.engine.serve.decoder.cases import Request, distance, draw_ids, run_step, save_case

GROUP = 16
COMPRESSED = {"quant_method": "compressed-tensors", "quantization_status": "compressed"}


def quantize_int4(weight, *, is_symmetric, group=GROUP):
    """Return codes, scales, zero points (1 to 15) of round-to-nearest, and the floats of them."""
    grouped = weight.unflatten(1, (-1, group))
    if is_symmetric:
        scale = grouped.abs().amax(-1) / 7
        zero = torch.full_like(scale, 8)
    else:
        low, high = grouped.amin(-1).clamp(max=0), grouped.amax(-1).clamp(min=0)
        scale = (high - low) / 15
        zero = (-low / scale).round().clamp(1, 15)
    scale = scale.half().float()
    codes = (grouped / scale[..., None]).round() + zero[..., None]
    codes = codes.clamp(0, 15)
    floats = ((codes - zero[..., None]) * scale[..., None]).flatten(1)
    return codes.flatten(1).to(torch.uint8), scale, zero.to(torch.uint8), floats


def write_awq(name, weight):
    codes, scale, zero, floats = quantize_int4(weight, is_symmetric=False)
    return floats, {
        f"{name}.qweight": pack_awq(codes),
        f"{name}.qzeros": pack_awq(zero),
        f"{name}.scales": scale.T.half().contiguous(),
    }


def write_gptq(name, weight, *, is_symmetric=False):
    codes, scale, zero, floats = quantize_int4(weight, is_symmetric=is_symmetric)
    return floats, {
        f"{name}.qweight": pack_gptq(codes),
        f"{name}.qzeros": pack_gptq_zeros(zero),
        f"{name}.scales": scale.T.half().contiguous(),
        f"{name}.g_idx": (torch.arange(weight.shape[1]) // GROUP).int(),
    }


def write_packed(name, weight, *, is_symmetric=True, group=GROUP):
    codes, scale, zero, floats = quantize_int4(weight, is_symmetric=is_symmetric, group=group)
    tensors = {
        f"{name}.weight_packed": pack_compressed(codes),
        f"{name}.weight_scale": scale.half(),
        f"{name}.weight_shape": torch.tensor(weight.shape),
    }
    if not is_symmetric:
        tensors[f"{name}.weight_zero_point"] = pack_compressed_zeros(zero)
    return floats, tensors


def write_int8(name, weight, suffix="weight_scale"):
    scale = weight.abs().amax(1, keepdim=True) / 127
    codes = (weight / scale).round().clamp(-127, 127)
    return codes * scale, {f"{name}.weight": codes.to(torch.int8), f"{name}.{suffix}": scale}


def describe_compressed(layout, bits, *, has_inputs=False, **weights):
    inputs = {"num_bits": 8, "type": "int", "dynamic": True, "strategy": "token"}
    group = {
        "targets": ["Linear"],
        "weights": {"num_bits": bits, "type": "int", "symmetric": True, **weights},
        "input_activations": inputs if has_inputs else None,
    }
    return {**COMPRESSED, "format": layout, "config_groups": {"group_0": group}}


INT4 = {"bits": 4, "group_size": GROUP}
FORMATS = {
    "awq": (write_awq, {"quant_method": "awq", "version": "gemm", "zero_point": True, **INT4}),
    "gptq": (write_gptq, {"quant_method": "gptq", "desc_act": False, "sym": False, **INT4}),
    "gptq-sym": (
        lambda name, weight: write_gptq(name, weight, is_symmetric=True),
        {"quant_method": "gptq", "desc_act": False, "sym": True, **INT4},
    ),
    "packed": (
        write_packed,
        describe_compressed("pack-quantized", 4, strategy="group", group_size=GROUP),
    ),
    "packed-asym": (
        lambda name, weight, **group: write_packed(name, weight, is_symmetric=False, **group),
        describe_compressed(
            "pack-quantized", 4, strategy="group", group_size=GROUP, symmetric=False
        ),
    ),
    "int8": (write_int8, describe_compressed("int-quantized", 8, strategy="channel")),
    "w8a8": (
        write_int8,
        describe_compressed("int-quantized", 8, strategy="channel", has_inputs=True),
    ),
    "smooth_quant": (
        lambda name, weight: write_int8(name, weight, "scale"),
        {"quant_method": "smooth_quant", "quant_dtype": "int8"},
    ),
}


def rewrite(folder, change_tensors=None, **config):
    path = folder / "model.safetensors"
    if change_tensors is not None:
        save_file(change_tensors(load_file(path)), path)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))


def quantize(folder, kind, **options):
    """Write the folder anew in a format; return what each linear layer is in floats."""
    write, config = FORMATS[kind]
    floats = {}

    def change(tensors):
        out = {}
        for name, tensor in tensors.items():
            layer = name.removesuffix(".weight")
            is_linear = tensor.ndim == 2 and ".layers." in name
            if is_linear:
                floats[name], made = write(layer, tensor, **options)
                out |= made
            else:
                out[name] = tensor
        return {name: tensor.contiguous() for name, tensor in out.items()}

    rewrite(folder, change, quantization_config=config)
    return floats


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", ["llama", "internlm2"])
def test_every_format_runs_as_its_dequantized_weights(tmp_path, kind, name):
    quantized, plain = (save_case(tmp_path / word, name) for word in ("quantized", "plain"))
    floats = quantize(quantized, kind)
    rewrite(plain, lambda tensors: tensors | floats)
    ids, found = draw_ids(12), {}
    for folder in (quantized, plain):
        shape, weights = read_model(folder, dtype=torch.float32)
        decoder = TorchDecoder(shape, weights, num_blocks=4, block_size=4)
        (found[folder],) = run_step(decoder, [(Request(ids, [2, 0, 1]), 12)])
    has_int8_inputs = kind in ("w8a8", "smooth_quant")
    assert distance(found[quantized], found[plain]) < (0.1 if has_int8_inputs else 1e-5)


def test_a_format_is_kept_and_a_symmetric_one_has_no_zero_points(tmp_path):
    kinds = {"awq": "int4", "gptq-sym": "int4", "w8a8": "int8"}
    for kind, wanted in kinds.items():
        folder = save_case(tmp_path / kind, "llama")
        floats = quantize(folder, kind)
        _, weights = read_model(folder, dtype=torch.float32)
        up = weights.layers[1].feed_forward.up
        assert up.kind == wanted
        assert (up.zero is None) == (kind != "awq")
        assert up.has_int8_inputs == (kind == "w8a8")
        wide = floats["model.layers.1.mlp.up_proj.weight"]
        assert torch.allclose(dequantize(up, torch.float32), wide, atol=1e-6)


def test_int8_inputs_are_rounded_row_by_row_as_a_loop_does():
    torch.manual_seed(0)
    weight = torch.randint(-127, 128, (24, 40), dtype=torch.int8)
    linear = LinearWeights("int8", weight, scale=torch.rand(24), has_int8_inputs=True)
    rows = torch.randn(3, 40) * torch.tensor([[1.0], [1000.0], [0.0]])
    for row, found in zip(rows, apply_linear(rows, linear), strict=True):
        step = max(float(row.abs().max()) / 127, 1e-12)
        codes = (row / step).round()
        wanted = (weight.double() @ codes.double()) * step * linear.scale.double()
        assert torch.allclose(found.double(), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("awq", {"version": "gemv"}, "AWQ version 'gemv' is not read"),
        ("awq", {"bits": 3}, "weights have 3 bits"),
        ("gptq", {"desc_act": True}, "desc_act is true"),
        ("gptq", {"checkpoint_format": "marlin"}, "'marlin' is not read"),
        ("gptq", {"group_size": 0}, "group_size 0 must be"),
        ("gptq", {"group_size": 48}, "do not divide into words of 8 and groups of 48"),
        ("gptq", {"group_size": 32}, "qzeros has the shape"),
        ("w8a8", {"format": "float-quantized"}, "'float-quantized' with 8 bits is not read"),
        ("w8a8", {"config_groups": {}}, "one entry in config_groups"),
        ("smooth_quant", {"quant_dtype": "float8_e4m3fn"}, "smooth_quant to float8_e4m3fn"),
        ("smooth_quant", {"quant_method": "bitsandbytes"}, "quant_method 'bitsandbytes'"),
    ],
)
def test_a_format_that_is_not_read_is_refused_by_name(tmp_path, kind, changes, words):
    folder = save_case(tmp_path / "model", "llama")
    quantize(folder, kind)
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    rewrite(folder, quantization_config=config | changes)
    with pytest.raises(EngineError, match=words):
        read_model(folder, dtype=torch.float32)


def test_reordered_inputs_are_seen_in_the_weights_too(tmp_path):
    folder = save_case(tmp_path / "model", "llama")
    quantize(folder, "gptq")
    name = "model.layers.0.self_attn.q_proj.g_idx"
    rewrite(folder, lambda tensors: tensors | {name: tensors[name].flip(0)})
    with pytest.raises(EngineError, match="g_idx reorders its inputs"):
        read_model(folder, dtype=torch.float32)


@pytest.mark.parametrize(
    ("kind", "suffix"), [("packed", "weight_scale"), ("awq", "scales"), ("gptq", "qzeros")]
)
def test_a_part_of_a_quantized_layer_that_is_missing_is_named(tmp_path, kind, suffix):
    folder = save_case(tmp_path / "model", "llama")
    quantize(folder, kind)
    name = f"model.layers.2.mlp.down_proj.{suffix}"
    rewrite(folder, lambda tensors: {key: t for key, t in tensors.items() if key != name})
    with pytest.raises(EngineError, match=f"its files have no tensor {name}"):
        read_model(folder, dtype=torch.float32)
