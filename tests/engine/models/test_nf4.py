"""NF4 against the paper in float64, and LoRA on it against LoRA on what it stands for."""

import copy
from statistics import NormalDist

import pytest
import torch
from torch import nn

from engine.models.load import load_base
from engine.models.lora import add_adapter, list_trainable
from engine.models.nf4 import (
    BLOCK,
    LEVELS,
    NF4Linear,
    dequantize_nf4,
    measure_bytes,
    quantize_base,
    quantize_nf4,
)
from engine.models.tiny import FAMILIES, make_family, make_model, save_family
from engine.specs import LoraOptions


def test_the_levels_are_quantiles_of_the_normal_distribution():
    """Section 3, equation 4, from both sides of zero; the outermost at the authors' offset."""
    offset = (1 - 1 / 32 + 1 - 1 / 30) / 2
    normal = NormalDist()
    above = [normal.inv_cdf(0.5 + (offset - 0.5) * step / 8) for step in range(1, 9)]
    below = [-normal.inv_cdf(0.5 + (offset - 0.5) * step / 7) for step in range(1, 8)]
    want = sorted([*below, 0.0, *above])
    assert [x / max(want) for x in want] == pytest.approx(LEVELS, abs=1e-6)


def look_up(*quantized):
    return dequantize_nf4(*quantized, torch.tensor(LEVELS), torch.float32)


def quantize_plainly(weights):
    """Block by block and weight by weight, in float64; the scales unquantized."""
    out = []
    for start in range(0, len(weights), BLOCK):
        block = weights[start : start + BLOCK]
        scale = max(map(abs, block)) or 1.0
        for weight in block:
            level = min(LEVELS, key=lambda level: abs(weight / scale - level))
            out.append(level * scale)
    return out


@pytest.mark.parametrize("size", [64, 640, 100, 64 * 300 + 7])
def test_a_round_trip_is_the_reference_s_up_to_the_scales(size):
    torch.manual_seed(size)
    weights = torch.randn(size) * 0.02
    quantized = quantize_nf4(weights)
    got = look_up(*quantized)[:size].double()
    want = torch.tensor(quantize_plainly(weights.double().tolist()), dtype=torch.float64)
    # A scale in 8 bits has 3 bits of mantissa around the mean: half a step of one is 1/16 of it.
    largest = want.abs().view(-1)[: size // BLOCK * BLOCK].view(-1, BLOCK).amax(1)
    step = (largest - largest.mean()).abs().max() / 16 + 1e-8  # and float32's own
    assert (got - want).abs().max() <= 1.05 * step
    if size == 64:  # a single scale is its own mean: nothing is lost
        torch.testing.assert_close(got, want, rtol=1e-6, atol=0)


def test_the_error_is_what_four_bits_leave():
    torch.manual_seed(0)
    weight = torch.randn(256, 512) * 0.02
    layer = NF4Linear(make_linear(weight))
    error = (layer.weight - weight).square().mean().sqrt() / weight.square().mean().sqrt()
    assert 0.07 < error < 0.10  # NF4 at blocks of 64; rounding to 16 even steps gives 0.12


def test_a_block_of_zeros_stays_zero():
    assert not look_up(*quantize_nf4(torch.zeros(128))).any()


def make_linear(weight, bias=False):
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias)
    linear.weight.data = weight
    return linear


def test_a_weight_takes_little_more_than_half_a_byte():
    layer = NF4Linear(make_linear(torch.randn(1024, 1024)))
    kept = measure_bytes(layer)
    assert 0.515 < kept / 1024**2 < 0.52


def test_a_change_of_dtype_does_not_touch_what_is_kept():
    layer = NF4Linear(make_linear(torch.randn(64, 96), bias=True))
    before = layer.weight
    assert torch.equal(layer.to(torch.bfloat16).float().half().weight, before)


def test_its_state_is_loaded_like_any_other():
    one, other = (NF4Linear(make_linear(torch.randn(64, 96))) for _ in range(2))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.weight, other.weight)


def test_nothing_more_is_kept_for_the_backward_pass():
    layer = NF4Linear(make_linear(torch.randn(64, 96), bias=True))
    kept = []
    inputs = torch.randn(5, 96, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        out = layer(inputs)
    own = {buffer.data_ptr() for buffer in layer.buffers()}
    assert {tensor.data_ptr() for tensor in kept} == own
    (got,) = torch.autograd.grad(out.square().sum(), inputs)
    again = inputs.detach().requires_grad_()
    plain = again @ layer.weight.T + layer.bias
    (want,) = torch.autograd.grad(plain.square().sum(), again)
    torch.testing.assert_close(got, want)


def make_pair(family):
    """A model with a quantized base, and the same with what it stands for as plain weights."""
    base = make_family(family, seed=1) if family else make_model(seed=1, initializer_range=0.2)
    base.requires_grad_(False)
    plain = copy.deepcopy(base)
    quantize_base(base)
    for name, module in list(base.named_modules()):
        if isinstance(module, NF4Linear):
            plain.get_submodule(name).weight.data = module.weight
    return base, plain


@pytest.mark.parametrize("family", [None, *FAMILIES])
def test_lora_on_it_has_the_gradients_of_lora_on_what_it_stands_for(family):
    models = [add_adapter(base, LoraOptions(rank=4, alpha=8), seed=3) for base in make_pair(family)]
    generator = torch.Generator().manual_seed(9)
    values = [torch.randn(p.shape, generator=generator) * 0.1 for p in list_trainable(models[0])]
    ids = torch.arange(4, 40)[None]
    grads = []
    for model in models:
        for parameter, value in zip(list_trainable(model), values, strict=True):
            parameter.data = value.clone()
        model(input_ids=ids, labels=ids).loss.backward()
        grads.append([parameter.grad for parameter in list_trainable(model)])
    assert len(values) > 0
    for got, want in zip(*grads, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


def test_only_the_blocks_are_quantized():
    model = quantize_base(make_family("chatglm"))
    kinds = {name for name, module in model.named_modules() if isinstance(module, NF4Linear)}
    assert len(kinds) == 2 * 4
    assert type(model.get_output_embeddings()) is nn.Linear


def test_lora_on_it_learns_under_autocast():
    base = make_family("internlm2", seed=2).to(torch.bfloat16)
    base.requires_grad_(False)
    model = add_adapter(quantize_base(base), LoraOptions(rank=8, alpha=16), seed=0)
    optimizer = torch.optim.AdamW(list_trainable(model), lr=1e-2)
    ids = torch.arange(4, 40)[None]
    losses = []
    for _ in range(30):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("way", ["checkpointed", "compiled"])
def test_its_gradients_are_the_same(way):
    base = make_family("internlm2", seed=2)
    base.requires_grad_(False)
    model = add_adapter(quantize_base(base), LoraOptions(rank=4), seed=0).train()
    for parameter in list_trainable(model):
        parameter.data += 0.05
    ids = torch.arange(4, 40)[None]
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    want = [parameter.grad for parameter in list_trainable(model)]
    model.zero_grad()
    if way == "checkpointed":
        base.activation_checkpointing_enable()
    else:
        for layer in base.model.layers:
            layer.compile(backend="eager", fullgraph=True, dynamic=True)
    model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    for parameter, grad in zip(list_trainable(model), want, strict=True):
        torch.testing.assert_close(parameter.grad, grad, rtol=1e-5, atol=1e-6)


def test_a_folder_is_opened_quantized(tmp_path):
    folder = save_family(tmp_path, "internlm2", hidden_size=128, initializer_range=0.05)
    plain, small = (
        load_base(folder, precision="fp32", device=torch.device("cpu"), quantize=quantize)
        for quantize in (None, "nf4")
    )
    saved = measure_bytes(plain.model.layers) - measure_bytes(small.model.layers)
    assert saved > 0.85 * measure_bytes(plain.model.layers)
    ids = torch.arange(4, 40)[None]
    with torch.no_grad():
        want, got = plain(ids).logits, small(ids).logits
    assert 0 < (got - want).square().mean().sqrt() < 0.3 * want.std()
    assert not any(parameter.requires_grad for parameter in small.parameters())
