"""Layers in 8-bit floats: rounded on load, read from a file, widened where nothing multiplies them.

The device's own product is computed plainly on a processor; `gpu` tests run the kernel.
"""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import EngineError
from engine.models.float8 import FLOAT8, quantize_rows
from engine.serve import base
from engine.serve.base import name_quantization, open_base
from engine.serve.decoder import placing
from engine.serve.decoder.families import read_model
from engine.serve.decoder.operations import dequantize
from engine.serve.decoder.placing import round_to_fp8, widen_fp8
from engine.serve.decoder.sharding import Share
from engine.serve.decoder.torch_decoder import TorchDecoder
from engine.serve.group import Group
from engine.specs import Placement, ServeSpec
from tests.engine.float8_gpu import ON_GPU
from tests.engine.serve.decoder.cases import Request, distance, draw_ids, run_step, save_case

CPU = torch.device("cpu")
MATRICES = ("query", "key", "value", "output")


def run(shape, weights, ids, device="cpu"):
    decoder = TorchDecoder(shape, weights, num_blocks=8, device=device)
    (logits,) = run_step(decoder, [(Request(ids, [1, 0, 2, 3]), len(ids))])
    return logits.cpu()


@pytest.mark.parametrize("device", ["cpu", ON_GPU])
@pytest.mark.parametrize("case", ["llama", "qwen3", "gemma3", "mixtral"])
def test_a_model_that_is_rounded_says_nearly_what_it_said(tmp_path, case, device):
    save_case(tmp_path, case)
    shape, weights = read_model(tmp_path, dtype=torch.float32)
    rounded = round_to_fp8(weights, torch.device(device))
    layer = rounded.layers[0]
    experts = layer.experts or (layer.feed_forward,)
    linears = [getattr(layer, name) for name in MATRICES]
    linears += [linear for expert in experts for linear in vars(expert).values()]
    assert {linear.kind for linear in linears} == {"fp8"}
    assert {linear.weight.dtype for linear in linears} == {FLOAT8}
    assert rounded.head.kind == "dense" and (not layer.router or layer.router.kind == "dense")
    ids = draw_ids(13)
    found, wanted = run(shape, rounded, ids, device), run(shape, weights, ids)
    most = 0.7 if case == "mixtral" else 0.3  # a rounded row may choose another expert
    assert 0 < distance(found, wanted) < most
    wide = run(shape, widen_fp8(rounded, torch.float32, CPU), ids, device)
    assert distance(found, wide) < most  # which rounds no inputs


def test_what_the_ranks_of_a_group_round_together_is_what_one_rounds(tmp_path):
    """Outputs are divided with their scales; of divided inputs each rank finds its own."""
    save_case(tmp_path, "llama")
    _, whole = read_model(tmp_path, dtype=torch.float32)
    whole = round_to_fp8(whole, CPU)
    parts = [
        round_to_fp8(read_model(tmp_path, dtype=torch.float32, share=Share(rank, 2))[1], CPU)
        for rank in range(2)
    ]
    up = [part.layers[1].feed_forward.up for part in parts]
    assert torch.equal(
        torch.cat([dequantize(part, torch.float32) for part in up]),
        dequantize(whole.layers[1].feed_forward.up, torch.float32),
    )
    down = [part.layers[1].feed_forward.down for part in parts]
    assert {part.kind for part in down} == {"fp8"}


def test_a_device_without_them_is_refused_and_so_is_a_model_of_no_fast_family(tmp_path):
    save_case(tmp_path, "llama")
    spec = ServeSpec(model=str(tmp_path), precision="fp8")
    with pytest.raises(EngineError, match="precision: fp8 needs a GPU .*: take bf16"):
        open_base(tmp_path, spec, Placement(run_dir=tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "opt"}))
    with pytest.raises(EngineError, match="precision: fp8 is for .*: take bf16"):
        open_base(tmp_path, spec, Placement(run_dir=tmp_path))


def write_float8(folder, **inputs):
    """Turn a saved model into a file of 8-bit floats, as llm-compressor lays it out."""
    path = folder / "model.safetensors"
    tensors = {}
    for name, tensor in load_file(path).items():
        if name.endswith("_proj.weight"):
            codes, scale = quantize_rows(tensor)
            tensors[name] = codes
            tensors[name.removesuffix("weight") + "weight_scale"] = scale.bfloat16()
        else:
            tensors[name] = tensor
    save_file(tensors, path, metadata={"format": "pt"})
    group = {
        "weights": {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "channel"},
        "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", **inputs},
    }
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {
        "quant_method": "compressed-tensors",
        "format": "float-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], **group}},
    }
    (folder / "config.json").write_text(json.dumps(config))


def test_a_file_of_8_bit_floats_is_served_on_a_device_that_does_not_multiply_them(tmp_path):
    save_case(tmp_path, "llama")
    write_float8(tmp_path, dynamic=True)
    _, read = read_model(tmp_path, dtype=torch.bfloat16)
    assert name_quantization(read) == "fp8"
    spec = ServeSpec(model=str(tmp_path), max_context=64, max_running=2)
    opened = open_base(tmp_path, spec, Placement(run_dir=tmp_path))
    assert opened.quantization == "none"  # here it is not held so
    opened.decoder.close()


def test_a_device_that_multiplies_them_still_gets_odd_sides_in_floats(tmp_path, monkeypatch):
    monkeypatch.setattr(placing, "has_fp8", lambda device: True)
    save_case(tmp_path, "llama", intermediate_size=72)
    write_float8(tmp_path, dynamic=True)
    _, read = read_model(tmp_path, dtype=torch.bfloat16)
    layer = widen_fp8(read, torch.bfloat16, CPU).layers[0]
    assert layer.feed_forward.up.kind == layer.feed_forward.down.kind == "dense"
    assert layer.query.kind == "fp8"


def test_a_model_that_is_quantized_otherwise_is_not_rounded(tmp_path, monkeypatch):
    save_case(tmp_path, "llama")
    _, weights = read_model(tmp_path, dtype=torch.bfloat16)
    query = replace(weights.layers[0].query, kind="int4")
    layers = (replace(weights.layers[0], query=query), *weights.layers[1:])
    spec = ServeSpec(model="me/small", precision="fp8")
    with pytest.raises(EngineError, match="me/small is held in int4: take bf16"):
        base._round(replace(weights, layers=layers), spec, Group(CPU))


def test_inputs_that_are_rounded_otherwise_are_refused(tmp_path):
    save_case(tmp_path, "llama")
    write_float8(tmp_path, dynamic=False)
    with pytest.raises(EngineError, match="otherwise than to fp8, each row by itself"):
        read_model(tmp_path, dtype=torch.bfloat16)
