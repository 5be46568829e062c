"""What the tests of dev machines share: an engine with user namespaces, a node, a whole studio."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.build import BASE
from tests.deploy.engine import DockerEngine, run_engine, why_not
from tests.deploy.machines import MachineStudio, SharedStudio
from tests.deploy.nodes import Node
from tests.deploy.supplies import get_base_tree
from tests.live import wait_for


@pytest.fixture(scope="module")
def docker() -> Iterator[DockerEngine]:
    if reason := why_not():
        pytest.fail(reason)
    with run_engine("--userns-remap=default", data=Path("/var/tmp/athanor-tests/docker")) as engine:
        engine.import_tree(get_base_tree(), BASE)
        context = engine.folder / "machine"
        context.mkdir()
        (context / "Dockerfile").write_text(f'FROM {BASE}\nCMD ["sleep", "infinity"]\n')
        engine.build(context / "Dockerfile", context, "athanor-test-machine")
        yield engine


@pytest.fixture
def node(docker, tmp_path) -> Iterator[Node]:
    node = Node(docker, tmp_path)
    for folder in (tmp_path, *tmp_path.parents):  # a machine's root is nobody out here
        folder.chmod(folder.stat().st_mode | 0o011)
    yield node
    node.orders.clear()
    node.settle()
    node.reconciler.close()
    node.unmount()
    assert docker.run("docker", "ps", "--all", "--quiet").stdout == ""
    assert "athanor-" not in docker.run("docker", "network", "ls").stdout
    assert docker.run("docker", "volume", "ls", "--quiet").stdout == ""


@pytest.fixture(scope="session")
def shared_studio(tmp_path_factory) -> Iterator[SharedStudio]:
    if reason := why_not():
        pytest.fail(reason)
    shared = SharedStudio(lambda: tmp_path_factory.mktemp("studio"))
    yield shared
    shared.close()


@pytest.fixture(scope="module")
def house(shared_studio) -> MachineStudio:
    """A studio whose node has an engine, with no machine of anybody's."""
    return shared_studio.get()


@pytest.fixture
def box(house) -> Iterator[dict]:
    """Ada's machine, running."""
    made = house.create("ada", "box")
    yield house.wait("ada", made["key"], "running")
    house.call("ada", "DELETE", f"/api/machines/{made['key']}/")
    wait_for("its container to go", lambda: not house.container(made))
