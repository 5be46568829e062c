"""A node with a real engine is emptied at once and then removed: nothing stays on it."""

from collections.abc import Iterator

import pytest

from tests.deploy.machines import MachineStudio, is_offered, run_machine_studio
from tests.live import wait_for

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Iterator[MachineStudio]:
    """A studio of its own: its node does not come back."""
    with run_machine_studio(tmp_path_factory.mktemp("studio")) as house:
        wait_for("the engine to be told", lambda: is_offered(house))
        yield house


def test_a_node_is_emptied_at_once_and_when_it_is_removed_its_containers_go(house):
    made = house.create("ada", "box")
    key = made["key"]
    box = house.wait("ada", key, "running")
    house.inside(box, "echo kept > /root/kept; sync")
    with house.studio.client("root", role="administrator") as admin:
        (node,) = admin.get("/api/nodes/").json()
        path = f"/api/nodes/{node['name']}/"
        drained = admin.post(f"{path}drain/", json={"grace_s": 0, "reason": "to be mended"})
        assert drained.status_code == 200, drained.text
        stopped = house.wait("ada", key, "stopped")
        assert "to be mended" in stopped["message"]
        assert not stopped["lease"]["is_open"] and stopped["lease"]["held_mpoints"] == 0
        running = ("docker", "ps", "--quiet")
        assert house.docker.run(*running).stdout == ""
        assert house.container(box)  # what was installed is kept
        removed = admin.delete(path, params={"force": "true"})
        assert removed.status_code == 204, removed.text
        assert admin.get("/api/nodes/").json() == []
    wait_for("its containers to go", lambda: not house.container(box))
    owner = house.call("ada", "GET", "/api/me/").json()["id"]
    home = house.studio.data_dir / "drive" / str(owner) / "home"
    assert (home / "kept").read_text() == "kept\n"
