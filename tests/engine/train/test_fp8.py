"""8-bit products against float32 ones, with the device's multiplication computed plainly.

A GPU that multiplies 8-bit floats is needed to run the kernel itself: `gpu` tests below.
"""

import pytest
import torch
from torch import nn

from engine.errors import EngineError
from engine.models.float8 import quantize_rows, require_fp8
from engine.models.lora import add_adapter
from engine.models.tiny import make_model
from engine.specs import LoraOptions
from engine.train import fp8
from engine.train.fp8 import multiply_linear, use_fp8
from tests.engine.float8_gpu import ON_GPU


def test_a_row_keeps_its_proportions_whatever_its_size():
    values = torch.randn(4, 256) * torch.tensor([[1e-6], [1.0], [1e4], [0.0]])
    codes, scale = quantize_rows(values)
    assert codes.dtype == torch.float8_e4m3fn
    back = codes.float() * scale
    # Three bits behind the point: half a step is 1/16 at most.
    assert ((back - values).abs() <= values.abs() / 16 + scale * 2**-9).all()
    assert torch.equal(back[3], torch.zeros(256))


@pytest.mark.parametrize("device", ["cpu", ON_GPU])
@pytest.mark.parametrize("is_trained", [True, False])
def test_a_layer_and_its_gradients_are_near_those_of_float32(device, is_trained):
    torch.manual_seed(0)
    linear = nn.Linear(256, 128, device=device)
    linear.requires_grad_(is_trained)
    inputs = torch.randn(1, 48, 256, device=device, requires_grad=True)
    other = inputs.detach().clone().requires_grad_()
    grad = torch.randn(1, 48, 128, device=device)
    got, want = multiply_linear(linear, inputs), linear(other)
    leaves = [linear.weight, linear.bias] if is_trained else []
    found = torch.autograd.grad(got, [inputs, *leaves], grad.bfloat16())
    wanted = torch.autograd.grad(want, [other, *leaves], grad)
    pairs = [(got, want), *zip(found, wanted, strict=True)]
    for near, exact in pairs:
        assert (near.float() - exact).norm() < 0.04 * exact.norm()
    if is_trained:  # the weight's is of bfloat16 factors
        assert (found[1].float() - wanted[1]).norm() < 0.01 * wanted[1].norm()


def test_large_layers_of_the_blocks_are_changed_and_no_others(monkeypatch):
    monkeypatch.setattr(fp8, "_SMALLEST_SIDE", 64)
    model = make_model()
    assert use_fp8(list(model.model.layers)) == 2 * 5  # keys and values are 32 wide
    assert "forward" not in vars(model.lm_head)
    narrow = model.model.layers[0].self_attn.k_proj
    assert "forward" not in vars(narrow)


def test_the_layer_below_an_adapter_multiplies_in_eight_bits(monkeypatch):
    monkeypatch.setattr(fp8, "_SMALLEST_SIDE", 64)
    model = add_adapter(make_model(), LoraOptions(), seed=0)
    layers = list(model.get_base_model().model.layers)
    inputs = torch.randn(1, 8, 64)
    project = layers[0].self_attn.q_proj
    plain = project(inputs)
    assert use_fp8(layers) == 2 * 5
    changed = project(inputs)
    assert not torch.equal(changed.float(), plain)
    assert (changed.float() - plain).norm() < 0.05 * plain.norm()


def test_a_device_without_eight_bit_floats_is_refused():
    with pytest.raises(EngineError, match="precision: fp8 needs a GPU .*: take bf16"):
        require_fp8(torch.device("cpu"))
