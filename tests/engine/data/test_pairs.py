"""Rows with weights and with pairs: nothing is lost, and sharing a prompt changes nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.batch import Span, collate, count_own, find_shared, make_layout
from engine.data.plan import Budget, plan_epoch
from engine.data.render import Renderer
from engine.data.samples import IGNORED, Rendered, RenderedPair, get_sides
from engine.models.tiny import make_model, make_tokenizer
from engine.specs.turns import PreferenceRow
from engine.train.attention import PACKED

CPU = torch.device("cpu")


def make_side(prompt, answer, *, row=0, weight=None):
    ids = (*prompt, *answer)
    labels = (IGNORED,) * len(prompt) + tuple(answer)
    weights = None if weight is None else (0.0,) * len(prompt) + (weight,) * len(answer)
    return Rendered(ids=ids, labels=labels, row=row, weights=weights)


TOKENS = st.lists(st.integers(0, 5), min_size=1, max_size=6)


@st.composite
def pairs(draw, head=()):
    prompt = (*(head if draw(st.booleans()) else ()), *draw(TOKENS))
    return RenderedPair(make_side(prompt, draw(TOKENS)), make_side(prompt, draw(TOKENS)))


HEAD = (9, 9, 9)
ROWS = st.lists(pairs(HEAD), min_size=1, max_size=5)


@given(ROWS, st.sampled_from([(), HEAD, (9,), (7, 7)]))
@settings(deadline=None)
def test_a_row_of_pairs_learns_each_answer_once_behind_its_prompt(samples, shared):
    batch = collate(samples, CPU, shared=shared)
    sides = [side for sample in samples for side in sample.sides]
    wanted = [label for side in sides for label in side.labels[1:] if label != IGNORED]
    assert batch.target_S.tolist() == wanted
    owners = [n for n, side in enumerate(sides) for _ in range(side.num_supervised)]
    assert batch.pairs.side_S.tolist() == owners
    assert batch.pairs.num_pairs == len(samples)
    num_shared = len(shared) if any(count_own(s, shared) < count_own(s, ()) for s in samples) else 0
    assert batch.num_tokens - num_shared == sum(count_own(sample, shared) for sample in samples)
    ids = batch.ids_1T[0]
    for side, last in zip(sides, batch.pairs.last_P2.flatten().tolist(), strict=True):
        assert ids[last] == side.ids[-1]
        assert batch.positions_1T[0, last] == len(side.ids) - 1
    sources = [
        side.ids[place]
        for side in sides
        for place, label in enumerate(side.labels[1:])
        if label != IGNORED
    ]
    assert ids[batch.source_S].tolist() == sources


@given(ROWS, st.sampled_from([(), HEAD]))
@settings(deadline=None)
def test_each_side_of_a_pair_sees_its_prompt_and_itself(samples, shared):
    batch = collate(samples, CPU, shared=shared)
    seen = []
    for bucket, kept in zip(batch.layout.buckets, batch.layout.kept, strict=True):
        for row in batch.ids_1T[0][bucket]:
            seen.append(tuple(row.tolist()))
        assert len(set(kept.tolist())) == len(kept)
    for side in (side for sample in samples for side in sample.sides):
        assert any(row[: len(side.ids)] == side.ids for row in seen)
    flat = torch.cat(
        [
            bucket.reshape(-1)[kept]
            for bucket, kept in zip(batch.layout.buckets, batch.layout.kept, strict=True)
        ]
    )
    assert flat[batch.layout.inverse_T].tolist() == list(range(batch.num_tokens))


def test_hidden_states_of_a_pair_are_those_of_its_sides_alone():
    renderer = Renderer(make_tokenizer(), max_length=256)
    rows = [
        PreferenceRow(
            [{"role": "user", "content": f"Question {n}?" * n}],
            [{"role": "assistant", "content": "Yes, of course."}],
            [{"role": "assistant", "content": "Yes, but no." + "!" * 5 * n}],
        )
        for n in range(1, 5)
    ]
    samples = [renderer.render_pair(row, index=n) for n, row in enumerate(rows)]
    plain = make_model(seed=1, initializer_range=0.2)
    packed = make_model(seed=1, initializer_range=0.2)
    packed.set_attn_implementation(PACKED)
    shared = find_shared(samples)
    assert shared
    batch = collate(samples, CPU, shared=shared)
    alone = sum(len(side.ids) for sample in samples for side in sample.sides)
    assert batch.num_tokens < 0.7 * alone
    with torch.no_grad():
        hidden = packed.model(
            input_ids=batch.ids_1T,
            position_ids=batch.positions_1T,
            use_cache=False,
            layout=batch.layout,
        ).last_hidden_state[0]
        for number, side in enumerate(side for sample in samples for side in sample.sides):
            own = plain.model(torch.tensor([side.ids])).last_hidden_state[0]
            places = [n for n, label in enumerate(side.labels[1:]) if label != IGNORED]
            got = hidden[batch.source_S[batch.pairs.side_S == number]]
            torch.testing.assert_close(got, own[places], rtol=1e-4, atol=1e-4)
            last = batch.pairs.last_P2.flatten()[number]
            torch.testing.assert_close(hidden[last], own[-1], rtol=1e-4, atol=1e-4)


def test_only_the_answers_of_a_pair_are_learnt():
    tokenizer = make_tokenizer()
    prompt = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]
    row = PreferenceRow(
        prompt, [{"role": "assistant", "content": "d"}], [{"role": "assistant", "content": "e"}]
    )
    pair = Renderer(tokenizer, max_length=256).render_pair(row, index=0)
    learnt = [
        tokenizer.decode([label for label in side.labels if label != IGNORED])
        for side in pair.sides
    ]
    assert learnt == ["d<|im_end|>", "e<|im_end|>"]
    assert pair.num_prompt == len(Renderer(tokenizer, max_length=256).render_prompt(prompt))


def test_a_pair_without_one_of_its_answers_teaches_nothing():
    pair = RenderedPair(make_side((1, 2), (3,)), make_side((1, 2), ()))
    assert pair.num_supervised == 0


def test_pairs_and_single_samples_are_not_laid_into_one_row():
    pair = RenderedPair(make_side((1,), (2,)), make_side((1,), (3,)))
    with pytest.raises(ValueError, match="pairs and single"):
        collate([pair, make_side((1,), (2,))], CPU)


@given(ROWS, st.integers(8, 64))
@settings(deadline=None)
def test_a_plan_never_parts_the_sides_of_a_pair(samples, micro):
    lengths = [count_own(sample, ()) for sample in samples]
    steps = plan_epoch(lengths, Budget(2 * micro, micro), seed=1, epoch=0)
    rows = [collate([samples[n] for n in one], CPU) for step in steps for one in step]
    assert sum(row.pairs.num_pairs for row in rows) == len(samples)
    for row, one in zip(rows, (one for step in steps for one in step), strict=True):
        assert row.num_tokens <= micro or len(one) == 1


SINGLES = st.lists(
    st.builds(make_side, TOKENS, TOKENS, weight=st.sampled_from([None, 0.5, 1.0, 2.0])),
    min_size=1,
    max_size=5,
)


@given(SINGLES)
@settings(deadline=None)
def test_weights_stand_beside_the_targets(samples):
    batch = collate(samples, CPU)
    wanted = [
        1.0 if side.weights is None else side.weights[place]
        for sample in samples
        for side in get_sides(sample)
        for place in range(1, len(side.ids))
        if side.labels[place] != IGNORED
    ]
    if all(sample.weights is None for sample in samples):
        assert batch.weight_S is None
    else:
        assert batch.weight_S.tolist() == wanted
    assert batch.supervised_weight == pytest.approx(sum(wanted))
    assert batch.supervised_weight == pytest.approx(sum(s.supervised_weight for s in samples))
    assert batch.num_supervised == len(wanted)
    assert batch.pairs is None


def test_a_borrowed_part_stands_between_shared_and_own():
    layout = make_layout([Span(4, 2), Span(2, 2, borrowed=(2, 3))], CPU)
    rows = [tuple(row) for bucket in layout.buckets for row in bucket.tolist()]
    assert (0, 1, 2, 3, 4, 6, 7) in rows
