"""The optimizers: who takes which weight, at which rate."""

import pytest
import torch
from torch import nn

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
