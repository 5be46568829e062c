"""The optimizers: who takes which weight, at which rate."""

import pytest
import torch
from torch import nn

from engine.train.adam8 import dequantize_blocks, make_levels, quantize_blocks
from engine.train.optim import get_learning_rate, make_optimizers


def get_names(optimizers, named):
    names = {id(parameter): name for name, parameter in named}
    return [
        {names[id(p)]: (group["weight_decay"], group["scale"])
         for group in part.param_groups for p in group["params"]}
        for part in optimizers.parts
    ]  # fmt: skip


def make_named():
    shapes = {
        "model.embed_tokens.weight": (8, 4),
        "model.layers.0.mlp.up_proj.weight": (4, 4),
        "model.layers.0.mlp.up_proj.bias": (4,),
        "model.layers.0.norm.weight": (4,),
        "lm_head.weight": (8, 4),
        "model.layers.0.q.lora_A.default.weight": (2, 4),
        "model.layers.0.q.lora_B.default.weight": (4, 2),
    }
    named = [(name, nn.Parameter(torch.randn(shape))) for name, shape in shapes.items()]
    named.append(("model.tok_embeddings.weight", nn.Parameter(torch.ones(2, 2))))  # InternLM2's
    named.append(("model.frozen.weight", nn.Parameter(torch.ones(2, 2), requires_grad=False)))
    return named


def test_vectors_do_not_decay_and_the_second_matrix_of_an_adapter_goes_faster():
    named = make_named()
    (told,) = get_names(make_optimizers(named, weight_decay=0.1, rate_ratio=4), named)
    assert told.keys() == {name for name, p in named if p.requires_grad}
    assert told["model.layers.0.norm.weight"] == (0.0, 1.0)
    assert told["model.layers.0.mlp.up_proj.weight"] == (0.1, 1.0)
    assert told["model.layers.0.q.lora_B.default.weight"] == (0.1, 4.0)


def test_muon_takes_the_matrices_within_layers():
    named = make_named()
    outer, inner = get_names(make_optimizers(named, name="muon", weight_decay=0.1), named)
    assert "model.layers.0.mlp.up_proj.weight" in inner
    ends = {"model.embed_tokens.weight", "model.tok_embeddings.weight", "lm_head.weight"}
    assert ends <= outer.keys()
    assert not outer.keys() & inner.keys()


def test_a_rate_is_the_groups_own():
    named = make_named()
    optimizers = make_optimizers(named, weight_decay=0.0, rate_ratio=2)
    optimizers.set_rate(0.5)
    assert {group["lr"] for group in optimizers.parts[0].param_groups} == {0.5, 1.0}


@pytest.mark.parametrize("decay_ratio", [0.1, 0.5, 1.0])
def test_warm_up_stable_decay(decay_ratio):
    rates = [
        get_learning_rate(
            step, 100, peak=1.0, warmup_ratio=0.1, schedule="wsd", decay_ratio=decay_ratio
        )
        for step in range(100)
    ]
    num_decay = min(90, round(100 * decay_ratio))
    assert rates[9 : 101 - num_decay] == [1.0] * (92 - num_decay)
    assert rates[100 - num_decay :] == sorted(rates[100 - num_decay :], reverse=True)
    assert 0 < rates[-1] < 0.3


def test_the_levels_of_eight_bits_are_finest_where_most_numbers_are():
    for is_signed in (True, False):
        levels = make_levels(is_signed=is_signed)
        assert len(levels.unique()) == 256
        assert levels[-1] == 1
        assert (levels == 0).any()
    assert levels[1] < 1e-6
    values = torch.randn(3, 1024) * torch.tensor([[1e-4], [1.0], [1e3]])
    levels = make_levels(is_signed=True)
    codes, largest = quantize_blocks(values, levels)
    back = dequantize_blocks(codes, largest, levels).view(3, 1024)
    assert ((back - values).abs().mean(1) < 0.015 * values.abs().mean(1)).all()
    again, _ = quantize_blocks(back, levels)
    assert torch.equal(again, codes)  # so that a resume is exact


def train_net(name, num_steps=150):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 64))
    teacher = nn.Linear(64, 64)
    optimizers = make_optimizers(net.named_parameters(), name=name, weight_decay=0.01)
    losses = []
    for _ in range(num_steps):
        inputs = torch.randn(64, 64)
        loss = (net(inputs) - teacher(inputs).detach()).square().mean()
        optimizers.zero_grad()
        loss.backward()
        optimizers.set_rate(3e-3)
        optimizers.step()
        losses.append(float(loss.detach()))
    return losses, optimizers


def test_eight_bits_learn_as_well_as_thirty_two_in_a_quarter_of_the_memory():
    wanted, wide = train_net("adamw")
    losses, narrow = train_net("adamw8bit")
    assert losses[-1] < 0.2 * losses[0]
    assert losses == pytest.approx(wanted, rel=0.05)
    kept = [
        sum(
            value.numel() * value.element_size()
            for parameter, state in optimizers.parts[0].state.items()
            for value in state.values()
            if parameter.ndim == 2 and value.ndim
        )
        for optimizers in (wide, narrow)
    ]
    assert kept[1] == pytest.approx(kept[0] / 4, rel=0.02)


def test_what_is_small_or_an_embedding_stays_at_thirty_two_bits():
    shapes = {"model.embed_tokens.weight": (64, 64), "up.weight": (64, 64), "norm.weight": (64,)}
    named = [(name, nn.Parameter(torch.randn(shape))) for name, shape in shapes.items()]
    optimizers = make_optimizers(named, name="adamw8bit", weight_decay=0.0)
    for _, parameter in named:
        parameter.grad = torch.randn(parameter.shape)
    optimizers.set_rate(0.1)
    optimizers.step()
    state = optimizers.parts[0].state
    is_packed = {name: "exp_avg_codes" in state[parameter] for name, parameter in named}
    assert [name for name, packed in is_packed.items() if packed] == ["up.weight"]
