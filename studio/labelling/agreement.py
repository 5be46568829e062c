"""How far annotators agree: plain functions over who said what, without the database.

Units are rows; each maps annotators to a nominal value. Missing answers are simply not there.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import combinations

Unit = Mapping[int, Hashable]
"""What each annotator, by id, said of one row."""
Span = tuple[int, int, str]
"""Start, end and label; half-open."""


def count_pairs(units: Iterable[Unit]) -> tuple[int, int]:
    """Return how many pairs of answers to the same row are equal, and how many there are."""
    equal = total = 0
    for unit in units:
        counts = Counter(unit.values())
        size = sum(counts.values())
        total += size * (size - 1) // 2
        equal += sum(count * (count - 1) // 2 for count in counts.values())
    return equal, total


def percent_agreement(units: Iterable[Unit]) -> float | None:
    """Return the share of equal pairs, 0..1; None where no row has two answers."""
    equal, total = count_pairs(units)
    return equal / total if total else None


def cohen_kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> float | None:
    """Return Cohen's kappa of two annotators (Cohen 1960, equation 1); None where undefined.

    Undefined without rows, and where both always say one and the same.
    """
    size = len(pairs)
    if not size:
        return None
    observed = sum(left == right for left, right in pairs) / size
    lefts, rights = (Counter(side) for side in zip(*pairs, strict=True))
    expected = sum(lefts[value] * rights[value] for value in lefts) / size**2
    return None if expected >= 1 else (observed - expected) / (1 - expected)


def krippendorff_alpha(units: Iterable[Unit]) -> float | None:
    """Return Krippendorff's alpha for nominal values; None where undefined.

    Any number of annotators, answers may be missing. Krippendorff 2011, "Computing Krippendorff's
    Alpha-Reliability", section C: rows with one answer do not count. Undefined where no row has
    two, and where all say one and the same.
    """
    totals: Counter[Hashable] = Counter()
    disagreement = 0.0
    for unit in units:
        counts = Counter(unit.values())
        size = sum(counts.values())
        if size < 2:
            continue
        totals.update(counts)
        unequal = size * size - sum(count * count for count in counts.values())
        disagreement += unequal / (size - 1)
    num_values = sum(totals.values())
    expected = num_values**2 - sum(count * count for count in totals.values())
    return 1 - (num_values - 1) * disagreement / expected if expected else None


def span_f1(pairs: Iterable[tuple[Sequence[Span], Sequence[Span]]]) -> float | None:
    """Return F1 over spans equal in start, end and label, rows taken together; None for no span.

    It is the same whichever side is held for the truth.
    """
    common = total = 0
    for left, right in pairs:
        lefts, rights = set(left), set(right)
        common += len(lefts & rights)
        total += len(lefts) + len(rights)
    return 2 * common / total if total else None


def overlap_f1(pairs: Iterable[tuple[Sequence[Span], Sequence[Span]]]) -> float | None:
    """Return F1 over labelled characters: half right for half of a span. None for no span.

    A character with two labels counts once for each; spans of one label that overlap count once.
    """
    common = total = 0
    for left, right in pairs:
        for label in {span[2] for span in (*left, *right)}:
            lefts, rights = _merge(left, label), _merge(right, label)
            total += sum(end - start for start, end in (*lefts, *rights))
            common += _overlap(lefts, rights)
    return 2 * common / total if total else None


def pair_up(units: Iterable[Unit]) -> dict[tuple[int, int], list[tuple[Hashable, Hashable]]]:
    """Return for every two annotators what both said of the rows they share."""
    pairs: dict[tuple[int, int], list[tuple[Hashable, Hashable]]] = {}
    for unit in units:
        for left, right in combinations(sorted(unit), 2):
            pairs.setdefault((left, right), []).append((unit[left], unit[right]))
    return pairs


def _merge(spans: Sequence[Span], label: str) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted((start, end) for start, end, name in spans if name == label):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _overlap(lefts: list[tuple[int, int]], rights: list[tuple[int, int]]) -> int:
    """Return how many characters lie in both; each side is sorted and without overlaps."""
    total = left = right = 0
    while left < len(lefts) and right < len(rights):
        start = max(lefts[left][0], rights[right][0])
        end = min(lefts[left][1], rights[right][1])
        total += max(0, end - start)
        if lefts[left][1] < rights[right][1]:
            left += 1
        else:
            right += 1
    return total
