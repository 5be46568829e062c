"""Drawing a token: greedy, by temperature, from the nucleus, by seed."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from engine.serve.backend import Sampling
from engine.serve.sampling import Sampler, keep_nucleus

CPU = torch.device("cpu")


def draw_many(sampling: Sampling, logits, num_draws: int) -> list[int]:
    sampler = Sampler(sampling, CPU)
    return [sampler.draw(torch.tensor(logits)) for _ in range(num_draws)]


def test_temperature_zero_takes_the_likeliest():
    assert draw_many(Sampling(temperature=0), [0.1, 2.0, 1.9], 5) == [1] * 5


def test_a_temperature_near_zero_is_greedy_and_finite():
    assert draw_many(Sampling(temperature=1e-320), [3e4, 2.0, 2.9e4], 3) == [0] * 3


def test_frequencies_follow_the_softmax():
    logits = [0.0, 1.0, 2.0]
    drawn = draw_many(Sampling(temperature=2.0, seed=0), logits, 4000)
    wanted = (torch.tensor(logits) / 2).softmax(-1)
    found = torch.bincount(torch.tensor(drawn), minlength=3) / 4000
    assert torch.allclose(found, wanted, atol=0.03)  # four standard deviations


def test_the_same_seed_draws_the_same_tokens():
    logits = [0.0] * 50
    first = draw_many(Sampling(seed=7), logits, 20)
    assert draw_many(Sampling(seed=7), logits, 20) == first
    assert draw_many(Sampling(seed=8), logits, 20) != first


def test_a_negative_seed_is_a_seed():
    assert draw_many(Sampling(seed=-3), [0.0] * 9, 9) == draw_many(Sampling(seed=-3), [0.0] * 9, 9)


@given(
    st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=30),
    st.floats(min_value=0.01, max_value=0.99),
)
def test_the_nucleus_is_the_fewest_tokens_that_reach_top_p(logits, top_p):
    probs = torch.tensor(logits).softmax(-1)
    kept = keep_nucleus(probs, top_p)
    ranked = sorted(probs.tolist(), reverse=True)
    sums = [sum(ranked[:n]) for n in range(1, len(ranked) + 1)]
    num_wanted = next((n for n, total in enumerate(sums, 1) if total >= top_p - 1e-5), len(ranked))
    num_most = next((n for n, total in enumerate(sums, 1) if total >= top_p + 1e-5), len(ranked))
    assert num_wanted <= int((kept > 0).sum()) <= num_most
    assert torch.equal(kept[kept > 0], probs[kept > 0])
    assert kept.max() == probs.max()
