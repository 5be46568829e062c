"""Dealing a step to readers: nothing lost, nothing read twice, all with as many micro-batches."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.plan import Budget, plan_epoch
from engine.train.shares import share_out

lengths = st.lists(st.integers(1, 200), min_size=1, max_size=60)


@given(lengths, st.integers(1, 9), st.integers(16, 400), st.integers(1, 8))
@settings(deadline=None)
def test_every_sample_is_read_by_one(sizes, num_readers, step_tokens, cuts):
    plan = plan_epoch(sizes, Budget(step_tokens, max(1, step_tokens // cuts)), seed=3, epoch=0)
    for step in plan:
        shares = [
            share_out(step, sizes, num_readers=num_readers, reader=reader)
            for reader in range(num_readers)
        ]
        assert len(set(map(len, shares))) == 1  # they meet after each micro-batch
        read = Counter(index for share in shares for micro in share for index in micro)
        assert read == Counter(index for micro in step for index in micro)


@given(lengths, st.integers(2, 9))
@settings(deadline=None)
def test_nobody_has_more_than_a_longest_sample_over_another(sizes, num_readers):
    step = (tuple(range(len(sizes))),)
    loads = [
        sum(
            sizes[index]
            for micro in share_out(step, sizes, num_readers=num_readers, reader=reader)
            for index in micro
        )
        for reader in range(num_readers)
    ]
    assert max(loads) - min(loads) <= max(sizes)
