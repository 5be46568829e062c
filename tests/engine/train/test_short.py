"""Attention of short samples: as near to the truth as PyTorch's kernel, and used where it pays."""

import pytest
import torch
import torch.nn.functional as F

from engine.train.short import LONGEST, attend_short, suits

NAMES = ("out", "query", "key", "value")


def run(attend, given, grad, dtype) -> list[torch.Tensor]:
    parts = [x.to(torch.bfloat16).to(dtype).requires_grad_() for x in given]
    out = attend(*parts)
    out.backward(grad.to(torch.bfloat16).to(dtype))
    return [out.detach().double(), *(part.grad.double() for part in parts)]


def by_kernel(query, key, value) -> torch.Tensor:
    return F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)


@pytest.mark.parametrize(
    ("num_samples", "num_heads", "num_keys", "length", "width"),
    [(3, 9, 3, 33, 64), (2, 4, 4, 1, 16), (1, 8, 2, LONGEST, 24), (5, 6, 1, 17, 32)],
)
def test_it_is_no_farther_from_float64_than_the_kernel(
    num_samples, num_heads, num_keys, length, width
):
    torch.manual_seed(0)
    heads = (num_heads, num_keys, num_keys)
    given = [torch.randn(num_samples, n, length, width) * 1.5 for n in heads]
    grad = torch.randn(num_samples, num_heads, length, width)
    truth = run(by_kernel, given, grad, torch.float64)
    kernel = run(by_kernel, given, grad, torch.bfloat16)
    ours = run(lambda q, k, v: attend_short(q, k, v, None), given, grad, torch.bfloat16)
    for name, a, b, true in zip(NAMES, ours, kernel, truth, strict=True):
        error, theirs = (a - true).norm(), (b - true).norm()
        assert error <= 1.5 * theirs + 2e-3 * true.norm(), name


def test_a_scaling_of_its_own_is_kept():
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 5, 8).bfloat16() for _ in range(3))
    wanted = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.7)
    found = attend_short(query, key, value, 0.7)
    torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2)


def test_only_short_bfloat16_samples_without_dropout_go_this_way():
    short = torch.zeros(1, 2, 5, 8, dtype=torch.bfloat16)
    assert suits(short, 0.0)
    assert not suits(short, 0.1)
    assert not suits(short.float(), 0.0)
    assert not suits(torch.zeros(1, 2, LONGEST + 1, 8, dtype=torch.bfloat16), 0.0)
