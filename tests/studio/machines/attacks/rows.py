"""A row of a table of attacks, and how a table is run: whole, so that a failure names all."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Attack:
    """One attempt."""

    id: str
    attempt: Callable[[Any], object]
    """Takes the scene and returns what it got hold of; nothing, where it came to nothing."""


def run_attacks(
    scene: Any, attacks: Sequence[Attack], *, before: Callable[[], object] = lambda: None
) -> None:
    """Run every row and fail with all that succeeded; `before` makes the scene new for each."""
    got = {}
    for attack in attacks:
        before()
        if loot := attack.attempt(scene):
            got[attack.id] = loot
    if got:
        raise AssertionError(f"these succeeded: {got}")


def count_ids(tables: Iterable[Sequence[Attack]]) -> int:
    """Return how many rows there are, none of which may share its id with another."""
    ids = [attack.id for table in tables for attack in table]
    assert len(ids) == len(set(ids)), sorted(each for each in ids if ids.count(each) > 1)
    return len(ids)
