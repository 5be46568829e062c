"""Figures of agreement, against published examples and a second way of computing them."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.labelling.agreement import (
    cohen_kappa,
    krippendorff_alpha,
    overlap_f1,
    percent_agreement,
    span_f1,
)

UNITS = st.lists(
    st.dictionaries(st.integers(1, 5), st.sampled_from("abc"), max_size=5), max_size=30
)
SPAN = st.tuples(st.integers(0, 20), st.integers(1, 6), st.sampled_from("xy")).map(
    lambda made: (made[0], made[0] + made[1], made[2])
)
SPAN_PAIRS = st.lists(st.tuples(st.lists(SPAN, max_size=6), st.lists(SPAN, max_size=6)), max_size=6)


def slow_alpha(units):
    """Alpha from the coincidence matrix, cell by cell (Krippendorff 2011, section C)."""
    matrix: dict = {}
    for unit in units:
        for left, right in permutations(unit, 2):
            cell = (unit[left], unit[right])
            matrix[cell] = matrix.get(cell, 0) + 1 / (len(unit) - 1)
    totals: dict = {}
    for (left, _), count in matrix.items():
        totals[left] = totals.get(left, 0) + count
    size = sum(totals.values())
    equal = sum(count for (left, right), count in matrix.items() if left == right)
    chance = sum(count * (count - 1) for count in totals.values())
    if size * (size - 1) == chance or size == 0:
        return None
    return ((size - 1) * equal - chance) / (size * (size - 1) - chance)


def test_alpha_is_that_of_krippendorffs_example_with_missing_answers():
    observers = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    units = [
        {who: said[row] for who, said in enumerate(observers) if said[row] is not None}
        for row in range(12)
    ]
    assert krippendorff_alpha(units) == pytest.approx(0.743, abs=0.0005)  # 2011, section C


def test_alpha_is_that_of_krippendorffs_example_of_two_observers():
    ben, gerry = "aabbdcccedda", "babbbcccedddd"[:12]  # Krippendorff 2011, section B
    units = [{0: a, 1: b} for a, b in zip(ben, gerry, strict=True)]
    assert krippendorff_alpha(units) == pytest.approx(slow_alpha(units), abs=1e-12)
    assert krippendorff_alpha(units) == pytest.approx(0.692, abs=0.0005)


def test_kappa_is_that_of_the_common_example_of_fifty_grants():
    pairs = [(1, 1)] * 20 + [(1, 0)] * 5 + [(0, 1)] * 10 + [(0, 0)] * 15
    assert cohen_kappa(pairs) == pytest.approx(0.4)


@given(UNITS)
def test_alpha_equals_that_of_the_coincidence_matrix(units):
    expected = slow_alpha([unit for unit in units if len(unit) > 1])
    found = krippendorff_alpha(units)
    assert found == (None if expected is None else pytest.approx(expected, abs=1e-9))


@given(UNITS)
def test_percent_agreement_equals_a_plain_loop(units):
    said = [
        unit[left] == unit[right]
        for unit in units
        for left in unit
        for right in unit
        if left < right
    ]
    expected = sum(said) / len(said) if said else None
    assert percent_agreement(units) == (None if expected is None else pytest.approx(expected))


@given(SPAN_PAIRS)
def test_overlap_equals_a_count_of_characters(pairs):
    def spread(spans):
        return {(at, label) for start, end, label in spans for at in range(start, end)}

    sides = [(spread(left), spread(right)) for left, right in pairs]
    total = sum(len(left) + len(right) for left, right in sides)
    common = sum(len(left & right) for left, right in sides)
    expected = 2 * common / total if total else None
    assert overlap_f1(pairs) == (None if expected is None else pytest.approx(expected))


@given(SPAN_PAIRS)
def test_f1_is_the_same_whichever_side_is_the_truth(pairs):
    turned = [(right, left) for left, right in pairs]
    assert span_f1(pairs) == span_f1(turned)
    assert overlap_f1(pairs) == overlap_f1(turned)


def test_exact_and_overlapping_spans_are_told_apart():
    pairs = [([(0, 4, "x"), (6, 8, "y")], [(0, 4, "x"), (6, 10, "y")])]
    assert span_f1(pairs) == pytest.approx(0.5)
    assert overlap_f1(pairs) == pytest.approx(2 * 6 / (6 + 8))


def test_what_cannot_be_compared_has_no_figure():
    assert krippendorff_alpha([{1: "a"}, {2: "b"}]) is None
    assert krippendorff_alpha([{1: "a", 2: "a"}]) is None
    assert cohen_kappa([]) is None
    assert cohen_kappa([("a", "a")]) is None
    assert percent_agreement([{1: "a"}]) is None
    assert span_f1([([], [])]) is None
    assert overlap_f1([]) is None
