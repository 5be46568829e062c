"""A studio that may be broken, and its people."""

from collections.abc import Iterator

import pytest

from tests.faults.owner import Owner, import_tiny_model, make_owner
from tests.live import LiveStudio, run_studio


@pytest.fixture(scope="package")
def furnace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStudio]:
    """One studio for all fault tests; each leaves it whole again."""
    with run_studio(tmp_path_factory.mktemp("furnace")) as studio:
        import_tiny_model(studio, tmp_path_factory.mktemp("tiny"))
        yield studio


@pytest.fixture(scope="package")
def alice(furnace: LiveStudio) -> Owner:
    return make_owner(furnace, "alice")


@pytest.fixture(scope="package")
def carol(furnace: LiveStudio) -> Owner:
    return make_owner(furnace, "carol")
