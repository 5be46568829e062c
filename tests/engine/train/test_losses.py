"""Every loss beside a naive one in float64: values, and gradients for hidden states and heads."""

import math

import pytest
import torch
import torch.nn.functional as F

from engine.models.decoder import Bend
from engine.train.losses import dpo_loss, head_loss_sum, reward_loss, target_logps

SIZES = [0, 1, 255, 256, 600]
STRAIGHT = Bend()


def make(num_positions, *, seed=0):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num_positions, 16, generator=generator, requires_grad=True)
    head = torch.randn(50, 16, generator=generator, requires_grad=True)
    target = torch.randint(0, 50, (num_positions,), generator=generator)
    weight = torch.rand(num_positions, generator=generator) * 2
    return hidden, head, target, weight


def take_naive(hidden, head, target, bend=STRAIGHT):
    """Log-probabilities in float64, and the leaves that they come from."""
    leaves = [hidden.detach().double().requires_grad_(), head.detach().double().requires_grad_()]
    logits = leaves[0] @ leaves[1].T * bend.scale
    if bend.cap:
        logits = bend.cap * (logits / bend.cap).tanh()
    return logits.log_softmax(-1)[torch.arange(len(target)), target], leaves


def check_gradients(loss, expected, leaves, naive_leaves):
    got = torch.autograd.grad(loss * 3, leaves)
    wanted = torch.autograd.grad(expected * 3, naive_leaves)
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_positions", SIZES)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_sum_under_a_head_that_is_trained_too(num_positions, is_weighted):
    hidden, head, target, weight = make(num_positions)
    logps, naive = take_naive(hidden, head, target)
    expected = -(logps * (weight.double() if is_weighted else 1)).sum()
    loss, _ = head_loss_sum(hidden, head, target, weight if is_weighted else None)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    check_gradients(loss, expected, [hidden, head], naive)


@pytest.mark.parametrize("num_positions", SIZES)
@pytest.mark.parametrize("is_weighted", [False, True])
def test_targets_that_are_foretold_are_counted_by_their_weight(num_positions, is_weighted):
    hidden, head, target, weight = make(num_positions)
    likeliest = (hidden.double() @ head.double().T).argmax(-1)
    target[::3] = likeliest[::3]
    is_right = (likeliest == target).double()
    expected = (is_right * (weight if is_weighted else 1)).sum()
    _, right = head_loss_sum(hidden, head, target, weight if is_weighted else None)
    assert not right.requires_grad
    torch.testing.assert_close(right.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("num_positions", SIZES)
def test_the_log_probability_of_each_target(num_positions):
    hidden, head, target, weight = make(num_positions, seed=1)
    expected, naive = take_naive(hidden, head, target)
    logps = target_logps(hidden, head, target)
    torch.testing.assert_close(logps.double(), expected, rtol=1e-5, atol=1e-5)
    check_gradients(
        (logps * weight).sum(), (expected * weight.double()).sum(), [hidden, head], naive
    )


@pytest.mark.parametrize("bend", [Bend(cap=3.0), Bend(scale=0.5), Bend(2.0, cap=5.0)], ids=str)
def test_logits_that_a_model_scales_and_caps(bend):
    hidden, head, target, weight = make(300, seed=2)
    logps, naive = take_naive(hidden, head, target, bend)
    straight, _ = take_naive(hidden, head, target)
    assert (logps - straight).abs().max() > 1
    total = -(logps * weight.double()).sum()
    loss, right = head_loss_sum(hidden, head, target, weight, bend)
    torch.testing.assert_close(loss.double(), total, rtol=1e-5, atol=1e-5)
    assert torch.equal(right, head_loss_sum(hidden, head, target, weight)[1])  # the order stays
    check_gradients(loss, total, [hidden, head], naive)
    each, naive = take_naive(hidden, head, target, bend)
    ours = target_logps(hidden, head, target, bend)
    torch.testing.assert_close(ours.double(), each, rtol=1e-5, atol=1e-5)
    check_gradients((ours * weight).sum(), (each * weight.double()).sum(), [hidden, head], naive)


def test_a_frozen_head_gets_no_gradient():
    hidden, head, target, _ = make(300)
    head = head.detach()
    for loss in (head_loss_sum(hidden, head, target)[0], target_logps(hidden, head, target).sum()):
        assert torch.autograd.grad(loss, hidden)[0].abs().sum() > 0


def test_dpo_is_equation_7():
    logps = torch.tensor([[-3.0, -5.0], [-9.0, -2.0]], dtype=torch.float64)
    reference = torch.tensor([[-4.0, -4.0], [-3.0, -3.0]], dtype=torch.float64)
    expected = [
        -math.log(1 / (1 + math.exp(-0.5 * ((c - rc) - (r - rr)))))
        for (c, r), (rc, rr) in zip(logps.tolist(), reference.tolist(), strict=True)
    ]
    assert dpo_loss(0.5 * (logps - reference)).tolist() == pytest.approx(expected)


def score_naively(chosen, rejected, focus, barrier):
    likely = 1 / (1 + math.exp(rejected - chosen))
    ranking = -((1 - 2 * max(0.0, likely - 0.5)) ** focus) * math.log(likely)
    walls = [
        -(math.log(score + 5) + math.log(5 - score)) if -5 < score < 5 else 0.0
        for score in (chosen, rejected)
    ]
    return ranking + barrier * sum(walls) / 2


@pytest.mark.parametrize("focus", [0.0, 2.0])
def test_the_reward_loss_is_the_reports(focus):
    pairs = [(0.0, 0.0), (2.0, -1.0), (-1.0, 2.0), (4.9, -4.9), (7.0, 1.0), (-6.0, 8.0)]
    scores = torch.tensor(pairs, dtype=torch.float64, requires_grad=True)
    losses = reward_loss(scores, focus=focus, barrier=0.02)
    expected = [score_naively(*pair, focus, 0.02) for pair in pairs]
    assert losses.tolist() == pytest.approx(expected)
    (grad,) = torch.autograd.grad(losses.sum(), scores)
    step = 1e-6
    for row, (chosen, rejected) in enumerate(pairs):
        ahead = score_naively(chosen + step, rejected, focus, 0.02)
        behind = score_naively(chosen - step, rejected, focus, 0.02)
        if abs(abs(chosen) - 5) > 0.2 and chosen != rejected:  # smooth there
            assert float(grad[row, 0]) == pytest.approx((ahead - behind) / (2 * step), rel=1e-4)


def test_under_autocast_products_are_bfloat16_and_the_sum_is_not():
    hidden, head, target, _ = make(600)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = head_loss_sum(hidden, head, target)
    assert loss.dtype == torch.float32
    whole = F.cross_entropy(hidden @ head.T, target, reduction="sum")
    torch.testing.assert_close(loss, whole, rtol=1e-2, atol=1e-2)
    for leaf, grad in zip([hidden, head], torch.autograd.grad(loss, [hidden, head]), strict=True):
        assert grad.dtype == leaf.dtype
