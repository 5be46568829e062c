"""Drawing tokens: each way of it against plain arithmetic, each row as if it were alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from engine.serve import sampling as module
from engine.serve.backend import Sampling
from engine.serve.sampling import History, draw_tokens, keep_likely, pick

WAYS = [
    Sampling(temperature=0),
    Sampling(seed=1),
    Sampling(seed=2, temperature=0.3, top_k=5),
    Sampling(seed=3, temperature=1.7, top_p=0.8),
    Sampling(seed=4, min_p=0.2),
    Sampling(seed=5, top_k=20, top_p=0.9, min_p=0.01, repetition_penalty=1.3),
    Sampling(seed=6, temperature=0, frequency_penalty=0.7, presence_penalty=0.4),
    Sampling(seed=7, logit_bias=((3, 4.0), (5, -100.0)), num_logprobs=2),
]


def draw_many(sampling: Sampling, logits, num_draws: int, *, prompt=()) -> list[int]:
    history = History(sampling, prompt)
    row_1V = torch.tensor(logits, dtype=torch.float32)[None]
    drawn = []
    for _ in range(num_draws):
        drawn.append(draw_tokens(row_1V, [history])[0].token_id)
        history.add(drawn[-1])
    return drawn


def test_temperature_zero_takes_the_likeliest():
    assert draw_many(Sampling(temperature=0), [0.1, 2.0, 1.9], 5) == [1] * 5


def test_a_temperature_near_zero_is_greedy_and_finite():
    assert draw_many(Sampling(temperature=1e-320), [3e4, 2.0, 2.9e4], 3) == [0] * 3


@pytest.mark.parametrize("top_k", [0, 3])
def test_frequencies_follow_the_softmax(top_k):
    logits = torch.tensor([0.0, 1.0, 2.0])
    ways = [Sampling(temperature=2.0, seed=seed, top_k=top_k) for seed in range(4000)]
    drawn = draw_tokens(logits.expand(4000, 3), [History(way) for way in ways])
    found = torch.bincount(torch.tensor([each.token_id for each in drawn]), minlength=3) / 4000
    assert torch.allclose(found, (logits / 2).softmax(-1), atol=0.03)  # four standard deviations


def test_the_same_seed_draws_the_same_tokens():
    logits = [0.0] * 50
    first = draw_many(Sampling(seed=7), logits, 20)
    assert draw_many(Sampling(seed=7), logits, 20) == first
    assert draw_many(Sampling(seed=8), logits, 20) != first
    assert draw_many(Sampling(), logits, 20) != draw_many(Sampling(), logits, 20)


def test_a_negative_seed_is_a_seed():
    assert draw_many(Sampling(seed=-3), [0.0] * 9, 9) == draw_many(Sampling(seed=-3), [0.0] * 9, 9)


def test_a_row_is_drawn_as_if_it_were_alone():
    generator = torch.Generator().manual_seed(0)
    logits_RV = 3 * torch.randn(len(WAYS), 60, generator=generator)
    histories = [History(way, (1, 2, 3)) for way in WAYS]
    for history in histories:
        for token_id in (4, 4, 7):
            history.add(token_id)
    masks_RV = torch.rand(len(WAYS), 60, generator=generator) < 0.7
    alone = [
        draw_tokens(logits_RV[r : r + 1], histories[r : r + 1], masks_RV[r : r + 1])[0]
        for r in range(len(WAYS))
    ]
    assert draw_tokens(logits_RV, histories, masks_RV) == alone
    order = [5, 1, 7, 0, 3]
    assert draw_tokens(logits_RV[order], [histories[r] for r in order], masks_RV[order]) == [
        alone[r] for r in order
    ]
    assert all(masks_RV[row, drawn.token_id] for row, drawn in enumerate(alone))


@given(
    st.lists(st.floats(-5, 5, width=32), min_size=2, max_size=40, unique=True),
    st.integers(0, 12),
    st.sampled_from([0.2, 0.5, 0.9, 1.0]),
    st.sampled_from([0.0, 0.05, 0.4]),
)
@settings(deadline=None)
def test_what_is_kept_is_what_transformers_keeps(logits, top_k, top_p, min_p):
    row_1V = torch.tensor([logits])
    warped_1V = row_1V
    if top_k:
        warped_1V = TopKLogitsWarper(top_k)(None, warped_1V)
    if top_p < 1:
        warped_1V = TopPLogitsWarper(top_p)(None, warped_1V)
    wanted = set(warped_1V[0].isfinite().nonzero()[:, 0].tolist())
    if min_p:
        wanted &= set(MinPLogitsWarper(min_p)(None, row_1V)[0].isfinite().nonzero()[:, 0].tolist())
    sorted_1V, ids_1V = row_1V.softmax(-1).sort(descending=True)
    kept = keep_likely(sorted_1V, [Sampling(top_k=top_k, top_p=top_p, min_p=min_p)])[0]
    found = set(ids_1V[0][kept > 0].tolist())
    # Of alike tokens one is as good; a sum may meet the bound to the last digit.
    assert abs(len(wanted) - len(found)) <= 1
    assert ids_1V[0, 0].item() in found


def test_a_nucleus_wider_than_the_candidates_is_sorted_whole(monkeypatch):
    logits = torch.linspace(0, 1, 200).tolist()
    ways = [Sampling(seed=s, top_p=0.97) for s in range(20)]
    wanted = [draw_many(way, logits, 3) for way in ways]
    monkeypatch.setattr(module, "_NUM_CANDIDATES", 8)
    assert [draw_many(way, logits, 3) for way in ways] == wanted
    assert len({token for tokens in wanted for token in tokens} - set(range(192, 200))) > 20


def test_penalties_are_those_of_transformers_and_of_the_formula():
    logits_1V = torch.tensor([[1.0, -1.0, 2.0, 0.5, 0.4]])
    history = History(Sampling(repetition_penalty=1.5), (0, 1))
    history.add(2)
    wanted = RepetitionPenaltyLogitsProcessor(1.5)(torch.tensor([[0, 1, 2]]), logits_1V.clone())
    assert torch.equal(module._change_logits(logits_1V, [history], None), wanted)
    history = History(Sampling(frequency_penalty=0.5, presence_penalty=0.25), (0,))
    for token_id in (2, 2, 3):
        history.add(token_id)
    changed = module._change_logits(logits_1V, [history], None)
    assert torch.allclose(changed, torch.tensor([[1.0, -1.0, 0.75, -0.25, 0.4]]))
    assert logits_1V[0, 2] == 2.0


def test_a_bias_moves_a_token_and_a_mask_forbids_it():
    way = Sampling(temperature=0, logit_bias=((0, 9.0),))
    assert draw_many(way, [0.0, 1.0, 2.0], 1) == [0]
    mask_1V = torch.tensor([[False, True, False]])
    logits_1V = torch.tensor([[0.0, 1.0, 2.0]])
    assert draw_tokens(logits_1V, [History(way)], mask_1V)[0].token_id == 1


def test_logprobs_are_the_models_own_before_temperature_and_penalties():
    logits_1V = torch.tensor([[0.0, 1.0, 2.0]])
    way = Sampling(temperature=0, num_logprobs=2, logit_bias=((0, 9.0),))
    (drawn,) = draw_tokens(logits_1V, [History(way)])
    wanted = logits_1V[0].log_softmax(-1)
    assert drawn.token_id == 0
    assert drawn.logprob == pytest.approx(float(wanted[0]))
    assert drawn.top == ((2, pytest.approx(float(wanted[2]))), (1, pytest.approx(float(wanted[1]))))
    (drawn,) = draw_tokens(logits_1V, [History(Sampling(temperature=0, num_logprobs=0))])
    assert (drawn.top, drawn.logprob) == ((), pytest.approx(float(wanted[2])))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused(bad):
    logits_RV = torch.zeros(2, 3)
    logits_RV[1, 1] = bad
    with pytest.raises(ValueError, match="not finite"):
        draw_tokens(logits_RV, [History(Sampling()), History(Sampling())])


def test_a_mask_without_a_token_is_refused():
    with pytest.raises(ValueError, match="no token"):
        draw_tokens(torch.zeros(1, 3), [History(Sampling())], torch.zeros(1, 3, dtype=torch.bool))


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5]), min_size=1, max_size=9), st.floats(0, 1))
def test_what_has_no_weight_is_never_picked(weights, uniform):
    if not sum(weights):
        return
    last = np.nextafter(1.0, 0.0)
    place = int(
        pick(torch.tensor([weights]), torch.tensor([[min(uniform, last)]], dtype=torch.float64))
    )
    assert weights[place] > 0
    assert sum(weights[:place]) <= uniform * sum(weights) + 1e-9


def test_wide_rows_are_picked_from_as_a_plain_sum_says():
    generator = torch.Generator().manual_seed(1)
    weights_RV = torch.rand(40, 3001, generator=generator) ** 8
    weights_RV[::2, :2900] = 0
    uniforms_R1 = torch.rand(40, 1, generator=generator, dtype=torch.float64)
    places = pick(weights_RV, uniforms_R1)
    for weights, uniform, place in zip(weights_RV.double(), uniforms_R1, places, strict=True):
        mark, tie = float(uniform) * float(weights.sum()), 1e-5 * float(weights.sum())
        assert weights[place] > 0
        assert float(weights[:place].sum()) <= mark + tie
        assert float(weights[: place + 1].sum()) >= mark - tie
