"""Attention with caps and windows: by hand, and in models beside transformers' own."""

import copy

import pytest
import torch
import torch.nn.functional as F
from transformers import (
    AutoModelForCausalLM,
    Cohere2Config,
    Gemma2Config,
    Gemma3TextConfig,
    MistralConfig,
    Olmo3Config,
    Phi3Config,
    Qwen2Config,
    Starcoder2Config,
)

from engine.data.batch import collate, find_shared
from engine.models.tiny import make_tokenizer
from engine.train import attention, banded
from engine.train.attention import PACKED
from engine.train.banded import Scoring, attend_banded
from engine.train.trainee import Trainee
from tests.engine.train.test_packing import CPU, loss_one_by_one, make_samples

SCORINGS = {
    "capped": Scoring(0.3, cap=2.0),
    "window": Scoring(0.3, window=9),
    "capped-window": Scoring(0.3, cap=2.0, window=9),
    "itself-alone": Scoring(0.3, window=1),
}


def attend_naively(query, key, value, scoring):
    served, ahead = query.shape[1] // key.shape[1], key.shape[2] - query.shape[2]
    key, value = (x.repeat_interleave(served, 1) for x in (key, value))
    scores = query @ key.transpose(2, 3) * scoring.scale
    if scoring.cap:
        scores = scoring.cap * (scores / scoring.cap).tanh()
    distance = ahead + torch.arange(query.shape[2])[:, None] - torch.arange(key.shape[2])
    is_seen = (distance >= 0) & (distance < (scoring.window or key.shape[2]))
    return scores.masked_fill(~is_seen, -torch.inf).softmax(-1) @ value


@pytest.mark.parametrize("cached", [0, 6])
@pytest.mark.parametrize("name", SCORINGS)
def test_chunks_are_what_all_scores_at_once_are(name, cached, monkeypatch):
    monkeypatch.setattr(banded, "_MOST_QUERIES", 7)
    torch.manual_seed(0)
    wide = [
        torch.randn(2, heads, length, 8, dtype=torch.float64, requires_grad=True)
        for heads, length in ((6, 30), (2, 30 + cached), (2, 30 + cached))
    ]
    ours = [x.detach().float().requires_grad_() for x in wide]
    out = attend_banded(*ours, SCORINGS[name], 0.0)
    wanted = attend_naively(*wide, SCORINGS[name])
    grad = torch.randn(out.shape)
    found = [out, *torch.autograd.grad(out, ours, grad)]
    truth = [wanted, *torch.autograd.grad(wanted, wide, grad.double())]
    for one, other in zip(found, truth, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["capped", "window", "capped-window"])
def test_nothing_as_large_as_all_scores_is_kept(name, monkeypatch):
    monkeypatch.setattr(banded, "_MOST_QUERIES", 32)
    length = 1024
    given = [torch.randn(1, 2, length, 16, requires_grad=True) for _ in range(3)]
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held: no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        attend_banded(*given, SCORINGS[name], 0.0)
    num_scores = 2 * length * length
    assert sum(t.untyped_storage().nbytes() for t in kept.values()) < num_scores


def test_dropout_of_capped_scores_falls_the_same_for_the_backward_pass():
    torch.manual_seed(0)
    given = [torch.randn(1, 2, 40, 8, dtype=torch.float64) for _ in range(3)]
    value = given[2].requires_grad_()
    out = attend_banded(*given, Scoring(0.3, cap=2.0), 0.5)
    grad = torch.randn_like(out)
    (found,) = torch.autograd.grad(out, value, grad)
    # Linear in the values: their gradient, times them, is the gradient times the result.
    torch.testing.assert_close((found * value).sum(), (grad * out).sum())
    assert not torch.allclose(out, attend_banded(*given, Scoring(0.3, cap=2.0), 0.0))


SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
KINDS = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16}
GEMMA = {**KINDS, "head_dim": 16, "query_pre_attn_scalar": 20, "final_logit_softcapping": None}
# Windows of 16 tokens, where the longest of the samples has more than a hundred.
FAMILIES = {
    "gemma2": (Gemma2Config, GEMMA | {"attn_logit_softcapping": 2.0}),
    "gemma2-uncapped": (Gemma2Config, GEMMA | {"attn_logit_softcapping": None}),
    "gemma3": (Gemma3TextConfig, GEMMA),
    "mistral": (MistralConfig, {"sliding_window": 16}),
    "qwen2": (
        Qwen2Config,
        {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
    ),
    "phi3": (Phi3Config, {"sliding_window": 16}),
    "starcoder2": (Starcoder2Config, {"sliding_window": 16}),
    "olmo3": (Olmo3Config, KINDS),
    "cohere2": (Cohere2Config, KINDS | {"logit_scale": 1.0}),
}


def make_twins(family, **more):
    """Return a model with packed attention, and the same with transformers' own."""
    make, changes = FAMILIES[family]
    torch.manual_seed(1)
    config = make(vocab_size=len(make_tokenizer()), **SIZES | changes | more)
    plain = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    packed = copy.deepcopy(plain)
    packed.set_attn_implementation(PACKED)
    assert plain.config._attn_implementation == "eager"
    return packed, plain


def list_alone(model, samples):
    return [model(input_ids=torch.tensor([s.ids]), use_cache=False).logits[0] for s in samples]


def run_packed(model, samples, *, share):
    """Return each sample's logits at its own positions, and how many come before these."""
    shared = find_shared(samples) if share else ()
    row = collate(samples, CPU, shared=shared)
    places = {"position_ids": row.positions_1T, "layout": row.layout}
    logits = model(input_ids=row.ids_1T, use_cache=False, **places).logits[0]
    skips = [len(shared) if shared and s.ids[: len(shared)] == shared else 0 for s in samples]
    own = [len(s.ids) - skip for s, skip in zip(samples, skips, strict=True)]
    return list(zip(logits[-sum(own) :].split(own), skips, strict=True))


@pytest.mark.parametrize("share", [False, True], ids=["apart", "behind-a-shared-beginning"])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_samples_have_the_logits_and_gradients_of_transformers(family, share):
    samples = make_samples()
    assert max(len(sample.ids) for sample in samples) > 6 * 16
    packed, plain = make_twins(family)
    found, wanted = run_packed(packed, samples, share=share), list_alone(plain, samples)
    losses = [torch.zeros(()), torch.zeros(())]
    for (ours, skip), theirs, sample in zip(found, wanted, samples, strict=True):
        torch.testing.assert_close(ours, theirs[skip:], rtol=1e-4, atol=1e-4)
        labels = torch.tensor([*sample.ids[1:], 0])
        losses[0] = losses[0] + F.cross_entropy(ours[:-1], labels[skip:-1], reduction="sum")
        losses[1] = losses[1] + F.cross_entropy(theirs[skip:-1], labels[skip:-1], reduction="sum")
    for loss in losses:
        loss.backward()
    for (name, ours), theirs in zip(packed.named_parameters(), plain.parameters(), strict=True):
        off = (ours.grad - theirs.grad).norm()
        assert off <= 1e-4 * theirs.grad.norm() + 1e-6, name


@pytest.mark.parametrize("cap", [None, 4.0])
def test_a_trainee_learns_what_transformers_would_teach_gemma_2(cap):
    """As it is published: capped scores, windows in every second layer, capped logits."""
    packed, plain = make_twins("gemma2", final_logit_softcapping=cap)
    samples = make_samples()
    trainee = Trainee(packed, torch.float32)
    loss = trainee(collate(samples, CPU, shared=find_shared(samples))).loss
    wanted = loss_one_by_one(plain, samples)
    torch.testing.assert_close(loss, wanted, rtol=1e-5, atol=1e-4)
    loss.backward()
    wanted.backward()
    for (name, ours), theirs in zip(packed.named_parameters(), plain.parameters(), strict=True):
        off = (ours.grad - theirs.grad).norm()
        assert off <= 1e-4 * theirs.grad.norm() + 1e-6, name


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "mistral"])
def test_a_cap_and_a_window_are_what_makes_the_difference(family, monkeypatch):
    """Without them the same weights say something else: the comparison above could fail."""
    packed, plain = make_twins(family)
    monkeypatch.setattr(attention, "Scoring", lambda scale, *_: Scoring(scale))
    samples = make_samples()
    (ours, _), theirs = run_packed(packed, samples, share=False)[3], list_alone(plain, samples)[3]
    assert (ours - theirs).norm() > 0.05 * theirs.norm()


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "mistral"])
def test_bfloat16_is_no_farther_from_float64_than_transformers(family):
    samples = make_samples()
    truth = list_alone(make_twins(family)[1].double(), samples)
    packed, plain = make_twins(family)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = run_packed(packed, samples, share=False), list_alone(plain, samples)
    for (one, _), other, true in zip(ours, theirs, truth, strict=True):
        assert (one.double() - true).norm() <= 1.3 * (other.double() - true).norm()


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "mistral"])
def test_a_model_writes_what_it_writes_by_transformers(family):
    packed, plain = make_twins(family)
    prompt = torch.tensor([make_samples()[3].ids[:40]])
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    assert torch.equal(packed.generate(prompt, **options), plain.generate(prompt, **options))
