"""The planner: every sample once, budgets kept, the same plan each time."""

import random
import tracemalloc

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.data.plan import Budget, plan_epoch, split_held_out

budgets = st.integers(16, 200).flatmap(
    lambda micro: st.integers(micro, 800).map(lambda step: Budget(step, micro))
)


@st.composite
def lengths_and_budget(draw):
    budget = draw(budgets)
    return draw(st.lists(st.integers(1, budget.micro_tokens), min_size=1, max_size=60)), budget


@given(lengths_and_budget(), st.integers(0, 5))
def test_an_epoch_holds_every_sample_exactly_once(case, epoch):
    lengths, budget = case
    steps = plan_epoch(lengths, budget, seed=3, epoch=epoch)
    seen = sorted(index for step in steps for micro in step for index in micro)
    assert seen == list(range(len(lengths)))


@given(lengths_and_budget())
def test_no_step_and_no_micro_batch_is_over_its_budget(case):
    lengths, budget = case
    for step in plan_epoch(lengths, budget, seed=3, epoch=0):
        assert sum(lengths[i] for micro in step for i in micro) <= budget.step_tokens
        for micro in step:
            assert 0 < sum(lengths[i] for i in micro) <= budget.micro_tokens


@given(lengths_and_budget(), st.integers(0, 5))
def test_steps_are_filled_in_the_order_that_a_shuffled_list_has(case, epoch):
    """Runs of other versions go on from their checkpoints: the order is theirs."""
    lengths, budget = case
    order = list(range(len(lengths)))
    random.Random(f"3/{epoch}").shuffle(order)
    for step in plan_epoch(lengths, budget, seed=3, epoch=epoch):
        taken = sorted(index for micro in step for index in micro)
        assert taken == sorted(order[: len(taken)])
        order = order[len(taken) :]
        if order:  # the next one had no room
            assert sum(lengths[i] for i in [*taken, order[0]]) > budget.step_tokens
    assert not order


GOLDEN = [((5,), (4,)), ((1,), (3, 2)), ((0,),)]


def test_a_plan_is_this_one():
    steps = plan_epoch([5, 9, 2, 7, 4, 8], Budget(20, 10), seed=1, epoch=2)
    assert list(steps) == GOLDEN
    assert steps[-1] == GOLDEN[-1]
    assert steps[:1] == GOLDEN[:1]


def test_a_plan_holds_some_bytes_of_a_sample():
    lengths = np.full(200_000, 7, dtype=np.int32)
    tracemalloc.start()
    plan = plan_epoch(lengths, Budget(70, 35), seed=1, epoch=0)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(plan) == 20_000
    assert held < 6 * len(lengths)


@given(st.integers(2, 300), st.floats(0, 0.5))
def test_what_is_held_out_is_what_a_list_would_give(num_samples, fraction):
    _, held = split_held_out(num_samples, fraction, seed=4)
    wanted = random.Random("4/held-out").sample(range(num_samples), len(held))
    assert held.tolist() == sorted(wanted)


@given(lengths_and_budget())
def test_a_plan_is_made_again_the_same(case):
    lengths, budget = case
    plans = [plan_epoch(lengths, budget, seed=9, epoch=2) for _ in range(2)]
    assert list(plans[0]) == list(plans[1])


def test_epochs_come_in_different_orders():
    plans = [plan_epoch([10] * 50, Budget(20, 20), seed=1, epoch=epoch) for epoch in (0, 1)]
    assert list(plans[0]) != list(plans[1])


@given(st.integers(2, 300), st.floats(0, 0.5))
def test_held_out_samples_are_never_trained_on(num_samples, fraction):
    trained, held = split_held_out(num_samples, fraction, seed=4)
    assert sorted([*trained, *held]) == list(range(num_samples))
    assert trained.size
    assert bool(held.size) == bool(fraction)
