"""What the jobs' tests share: a hub with one model and one dataset, points, and a node."""

import pytest

from studio.points.services import grant_points
from tests.factories import make_node
from tests.studio.jobs.repos import make_dataset, make_model

SPEC = {"kind": "train", "model": "athanor/tiny", "dataset": "alice/guide"}


@pytest.fixture
def spec(alice) -> dict:
    """A launch that nothing stands against, once alice has points."""
    make_model("athanor/tiny")
    make_dataset("alice/guide", owner=alice)
    make_node()
    return dict(SPEC)


@pytest.fixture
def rich_alice(alice, adam):
    """Alice with 100 points."""
    grant_points(by=adam, to=alice, mpoints=100_000, note="for tests", key="rich-alice")
    return alice
