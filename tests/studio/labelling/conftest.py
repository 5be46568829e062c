"""What the tests of labelling share: bytes of their own, and projects over small datasets."""

import pytest

from tests.studio.hub.conftest import hub_dir
from tests.studio.labelling.made import Labelled, make_project, talks

__all__ = ["hub_dir"]


@pytest.fixture
def project(alice):
    """Alice's project to review six conversations, with one annotator a row."""
    return make_project(alice, talks(6))


@pytest.fixture
def label(api):
    """`label(user, project)` is that person at their rows."""

    def sit_down(user, project) -> Labelled:
        return Labelled(api(user), project)

    return sit_down
