"""A studio with a real Docker engine for each module of tests, and a machine of ada's in it."""

from collections.abc import Iterator

import pytest

from tests.deploy.engine import why_not
from tests.deploy.machines import MachineStudio, run_machine_studio
from tests.live import wait_for


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[MachineStudio]:
    if reason := why_not():
        pytest.fail(reason)
    with run_machine_studio(tmp_path_factory.mktemp("studio")) as house:
        wait_for("the engine to be told", lambda: is_offered(house))
        yield house


def is_offered(house: MachineStudio) -> bool:
    said = house.call("ada", "GET", "/api/machines/options/").json()["engine"]
    assert said["is_available"] or "No Docker engine answers" in said["problem"], said
    return bool(said["is_available"])


@pytest.fixture
def box(house) -> Iterator[dict]:
    """Ada's machine, running."""
    made = house.create("ada", "box")
    yield house.wait("ada", made["key"], "running")
    house.call("ada", "DELETE", f"/api/machines/{made['key']}/")
    wait_for("its container to go", lambda: not house.container(made))
