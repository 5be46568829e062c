"""What compressed-tensors itself writes, as llm-compressor does, is read as it means it."""

import pytest
import torch
from compressed_tensors import ModelCompressor
from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config
from compressed_tensors.quantization.utils import calculate_qparams

from engine.serve.decoder.families import read_model
from engine.serve.decoder.operations import dequantize
from engine.serve.decoder.torch_decoder import TorchDecoder
from tests.engine.serve.decoder.cases import Request, distance, draw_ids, make_case, run_step

BYTE = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"}
TOKEN = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}
FLOAT = {**BYTE, "type": "float"}
FLOAT_TOKEN = {**TOKEN, "type": "float"}
FOUR = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 32}
SCHEMES = {
    "int-quantized": {"weights": BYTE, "input_activations": TOKEN},
    "bytes": {"weights": BYTE},
    "tensor": {"weights": {**BYTE, "strategy": "tensor"}, "input_activations": TOKEN},
    "float-quantized": {"weights": FLOAT, "input_activations": FLOAT_TOKEN},
    "float tensor": {
        "weights": {**FLOAT, "strategy": "tensor"},
        "input_activations": FLOAT_TOKEN,
    },
    "pack-quantized": {"weights": FOUR},
    "asymmetric": {"weights": {**FOUR, "symmetric": False}},
    "channel": {"weights": {**FOUR, "strategy": "channel", "group_size": None}},
}


def compress(folder, scheme):
    """Save a tiny Llama as the library does; return its logits and its weights as it reads them."""
    model = make_case("llama")
    config = {"config_groups": {"group_0": {"targets": ["Linear"], **scheme}}}
    apply_quantization_config(model, QuantizationConfig(**config, ignore=["lm_head"]))
    for module in model.modules():
        if getattr(module, "quantization_scheme", None) is not None:
            set_scales(module, module.quantization_scheme.weights)
    ids = draw_ids(24)
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(folder)
    compressor.update_config(folder)
    compressor.decompress_model(model)
    return ids, logits, model.state_dict()


def set_scales(linear, args):
    """Scales from the smallest and the largest weight, computed by the library."""
    weight = linear.weight.data
    if args.group_size:
        weight = weight.unflatten(1, (-1, args.group_size))
    dims = (0, 1) if args.strategy == "tensor" else (-1,)
    low, high = weight.amin(dims), weight.amax(dims)
    scale, zero = calculate_qparams(low, high, args)
    linear.weight_scale.data.copy_(scale.reshape(linear.weight_scale.shape))
    if hasattr(linear, "weight_zero_point"):
        linear.weight_zero_point.data.copy_(zero.reshape(linear.weight_zero_point.shape))


@pytest.mark.parametrize("kind", SCHEMES)
def test_what_the_library_compresses_gives_the_logits_that_it_gives(tmp_path, kind):
    ids, wanted, floats = compress(tmp_path, SCHEMES[kind])
    shape, weights = read_model(tmp_path, dtype=torch.float32)
    up = weights.layers[1].feed_forward.up
    args = SCHEMES[kind]["weights"]
    is_float = args["type"] == "float"
    assert up.kind == ("fp8" if is_float else "int8" if args["num_bits"] == 8 else "int4")
    has_rounded_inputs = "input_activations" in SCHEMES[kind]
    assert up.has_int8_inputs == (has_rounded_inputs and not is_float)
    decoder = TorchDecoder(shape, weights, num_blocks=2)
    (found,) = run_step(decoder, [(Request(ids, [1, 0]), 24)])
    # Its steps of an input are its largest over 127.5, ours (and vLLM's) over 127.
    assert distance(found, wanted) < (0.2 if is_float else 0.1 if has_rounded_inputs else 1e-5)
    for name in ("q_proj", "o_proj"):
        read = getattr(weights.layers[2], {"q_proj": "query", "o_proj": "output"}[name])
        theirs = floats[f"model.layers.2.self_attn.{name}.weight"]
        assert torch.allclose(dequantize(read, torch.float32), theirs, rtol=1e-6, atol=1e-7)
