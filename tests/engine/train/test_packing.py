"""Packed rows against one sample at a time through the model itself: same loss and gradients."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.batch import Span, collate, count_room, find_shared, make_layout
from engine.data.render import IGNORED, Rendered, Renderer
from engine.models.lora import add_adapter, list_trainable
from engine.models.tiny import make_model, make_tokenizer
from engine.specs import LoraOptions
from engine.train.attention import PACKED
from engine.train.losses import head_loss_sum
from engine.train.trainee import Trainee

CPU = torch.device("cpu")


def _loss_sum(model, batch):
    return Trainee(model, torch.float32)(batch).loss


TALKS = [
    [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
    for q, a in [("Hi", "Hello."), ("Who are you?", "A furnace."), ("x" * 70, "y" * 40), ("?", "!")]
]
TALKS.insert(1, [{"role": "system", "content": "Be odd."}, *TALKS[0]])


def make_samples():
    renderer = Renderer(make_tokenizer(), max_length=512)
    return [renderer.render(talk, row=row) for row, talk in enumerate(TALKS)]


def make_trainable(attention):
    base = make_model(seed=1)
    base.set_attn_implementation(attention)
    base.requires_grad_(False)
    model = add_adapter(base, LoraOptions(rank=4, alpha=8), seed=2)
    generator = torch.Generator().manual_seed(5)
    for parameter in list_trainable(model):  # B starts at zero: then A would have no gradient
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.05
    return model


def loss_one_by_one(model, samples):
    total = torch.zeros(())
    for sample in samples:
        logits = model(input_ids=torch.tensor([sample.ids])).logits[0, :-1]
        labels = torch.tensor(sample.labels[1:])
        total = total + F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    return total


@pytest.mark.parametrize("share", [False, True])
def test_packing_changes_neither_loss_nor_gradient(share):
    samples = make_samples()
    packed, plain = make_trainable(PACKED), make_trainable("eager")
    shared = find_shared(samples) if share else ()
    assert bool(shared) == share
    loss = _loss_sum(packed, collate(samples, CPU, shared=shared))
    expected = loss_one_by_one(plain, samples)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    loss.backward()
    expected.backward()
    for got, want in zip(list_trainable(packed), list_trainable(plain), strict=True):
        torch.testing.assert_close(got.grad, want.grad, rtol=1e-4, atol=1e-5)


def make_long_shared(num_samples, num_shared=60, num_own=4):
    return [
        Rendered(
            ids=(*range(num_shared), *range(70 + n, 70 + n + num_own)),
            labels=(IGNORED,) * num_shared + tuple(range(70 + n, 70 + n + num_own)),
            row=n,
        )
        for n in range(num_samples)
    ]


def test_gathering_again_for_the_backward_pass_changes_nothing():
    samples = make_long_shared(12)
    packed, plain = make_trainable(PACKED), make_trainable("eager")
    loss = _loss_sum(packed, collate(samples, CPU, shared=find_shared(samples)))
    expected = loss_one_by_one(plain, samples)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    loss.backward()
    expected.backward()
    for got, want in zip(list_trainable(packed), list_trainable(plain), strict=True):
        torch.testing.assert_close(got.grad, want.grad, rtol=1e-4, atol=1e-5)


def measure_kept_bytes(model, batch):
    """Return what the forward pass keeps for the backward pass, weights aside."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor  # held: no address is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        _loss_sum(model, batch)
    return sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in weights)


def test_a_long_shared_beginning_does_not_multiply_what_is_kept():
    model = make_trainable(PACKED)
    samples = make_long_shared(20)
    shared = collate(samples, CPU, shared=find_shared(samples))
    assert shared.layout.num_gathered > 8 * shared.num_tokens
    alone = collate(make_long_shared(1, num_own=shared.num_tokens - 60), CPU)
    assert alone.num_tokens == shared.num_tokens
    assert measure_kept_bytes(model, shared) < 1.25 * measure_kept_bytes(model, alone)


@given(st.integers(64, 4096), st.integers(0, 4095))
@settings(deadline=None)
def test_a_row_with_its_shared_beginning_is_an_eighth_over_the_budget_at_most(micro, num_shared):
    num_shared = min(num_shared, micro - 1)
    room = count_room(micro, (0,) * num_shared)
    assert 0 < room <= micro
    assert room + num_shared <= micro * 9 / 8


def test_a_short_shared_beginning_does_not_cut_a_step_in_two():
    assert count_room(512, (0,) * 24) == 512


def test_a_sample_does_not_see_its_neighbours():
    samples = make_samples()
    model = make_trainable(PACKED)
    alone = _loss_sum(model, collate(samples[:1], CPU))
    changed = copy.deepcopy(samples)
    changed[1] = Rendered(
        ids=tuple(reversed(samples[1].ids)), labels=(IGNORED,) * len(samples[1].ids), row=1
    )
    beside = _loss_sum(model, collate([changed[1], samples[0]], CPU))
    torch.testing.assert_close(beside, alone, rtol=1e-5, atol=1e-5)


def test_the_shared_beginning_stops_before_what_is_learnt():
    same = Rendered(ids=(1, 2, 3, 4), labels=(IGNORED, IGNORED, 3, 4), row=0)
    assert find_shared([same, same]) == (1, 2)


def test_a_sample_of_another_kind_does_not_spoil_the_shared_beginning():
    usual = [Rendered((1, 2, 3, n), (IGNORED,) * 3 + (n,), row=n) for n in range(5, 9)]
    odd = Rendered((9, 2, 4), (IGNORED, IGNORED, 4), row=9)
    assert find_shared([odd, *usual]) == (1, 2, 3)
    assert collate([odd, *usual], CPU, shared=(1, 2, 3)).num_tokens == 3 + 4 + 3


spans = st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=12)


@given(spans, st.integers(0, 9))
@settings(deadline=None)
def test_a_layout_gathers_and_returns_every_position(cases, num_shared):
    made = [Span(num_own, num_shared if is_sharing else 0) for num_own, is_sharing in cases]
    layout = make_layout(made, CPU)
    pairs = zip(layout.buckets, layout.kept, strict=True)
    flat = torch.cat([bucket.reshape(-1)[kept] for bucket, kept in pairs])
    total = max(span.num_shared for span in made) + sum(span.num_own for span in made)
    assert flat[layout.inverse_T].tolist() == list(range(total))


@pytest.mark.parametrize("num_positions", [1, 255, 256, 700])
def test_the_blockwise_loss_is_cross_entropy(num_positions):
    torch.manual_seed(num_positions)
    hidden = torch.randn(num_positions, 16, dtype=torch.float64, requires_grad=True)
    head = torch.randn(50, 16, dtype=torch.float64)
    target = torch.randint(0, 50, (num_positions,))
    expected = F.cross_entropy(hidden @ head.T, target, reduction="sum")
    (want,) = torch.autograd.grad(expected * 3, hidden)
    loss, _ = head_loss_sum(hidden, head, target)
    (got,) = torch.autograd.grad(loss * 3, hidden)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
