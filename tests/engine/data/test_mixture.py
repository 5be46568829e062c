"""A mixture: shares as asked, nothing seen again before all is seen, the same draw each time."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.data.mixture import draw_epoch

MIXTURES = st.lists(
    st.tuples(st.integers(1, 20), st.floats(0.05, 4.0)), min_size=1, max_size=4
).map(
    lambda parts: (
        [source for source, (size, _) in enumerate(parts) for _ in range(size)],
        [weight for _, weight in parts],
    )
)


@given(MIXTURES, st.integers(0, 5))
def test_a_draw_is_made_again_the_same(mixture, epoch):
    sources, weights = mixture
    draws = [draw_epoch(sources, weights, seed=3, epoch=epoch) for _ in range(2)]
    assert (draws[0] is None) == (set(weights) == {1.0})
    assert draws[0] is None or draws[0].tolist() == draws[1].tolist()


@given(MIXTURES, st.integers(1, 6))
def test_over_epochs_each_source_has_its_share_and_evenly(mixture, num_epochs):
    sources, weights = mixture
    if set(weights) == {1.0}:
        return
    seen = Counter()
    for epoch in range(num_epochs):
        seen.update(draw_epoch(sources, weights, seed=3, epoch=epoch).tolist())
    for source, weight in enumerate(weights):
        own = [index for index, one in enumerate(sources) if one == source]
        total = sum(seen[index] for index in own)
        wanted = weight * len(own) * num_epochs
        assert wanted - 1e-6 <= total < wanted + 1 + num_epochs
        if weight * len(own) >= 1:  # of less there is one an epoch all the same
            counts = [seen[index] for index in own]
            assert max(counts) - min(counts) <= 1


def test_without_weights_there_is_no_draw():
    assert draw_epoch([0, 0, 1], [1.0, 1.0], seed=1, epoch=0) is None


def test_half_a_source_is_the_other_half_the_next_time():
    sources = [0] * 10 + [1]
    halves = [
        set(draw_epoch(sources, [0.5, 1.0], seed=1, epoch=epoch).tolist()) for epoch in (0, 1)
    ]
    assert halves[0] | halves[1] == set(range(11))
    assert halves[0] & halves[1] == {10}


@pytest.mark.parametrize("seed", [1, 2])
def test_seeds_draw_otherwise(seed):
    sources = [0] * 50
    one, other = (draw_epoch(sources, [0.5], seed=s, epoch=0) for s in (seed, seed + 1))
    assert one.tolist() != other.tolist()


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_pass_is_in_the_order_that_a_shuffled_list_has(epoch):
    """Runs of other versions go on from their checkpoints: the draw is theirs."""
    own, row = [1, 2, 4, 5, 7], []
    for number in range(6):
        one = list(own)
        random.Random(f"3/1/{number}").shuffle(one)
        row += one
    drawn = draw_epoch([0, 1, 1, 0, 1, 1, 0, 1], [1.0, 1.4], seed=3, epoch=epoch)
    assert drawn[3:].tolist() == row[7 * epoch : 7 * epoch + 7]
