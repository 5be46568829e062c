"""A node that was removed ends its machines; one whose token is merely wrong keeps them."""

from pathlib import Path

import pytest

from workers.config import NodeConfig
from workers.errors import StudioRefused
from workers.machines.host import MachineHost
from workers.machines.memory import MachineMemory
from workers.machines.orders import MachineLimits, MachineOrder

ORDER = MachineOrder(
    machine="m1",
    life=1,
    is_running=True,
    image="sha256:" + "a" * 64,
    hostname="box",
    tenant="u1",
    home="1",
    limits=MachineLimits(cpus=1, memory_bytes=2**30),
)


class Studio:
    """A studio that answers every report with this refusal."""

    def __init__(self, status: int) -> None:
        self.status = status

    async def report_machines(self, token: str, body: bytes) -> None:
        raise StudioRefused(self.status, "no")


@pytest.fixture
def memory(tmp_path: Path) -> MachineMemory:
    memory = MachineMemory(tmp_path / "machines")
    memory.create()
    memory.write_orders([ORDER])
    return memory


@pytest.mark.parametrize(("status", "kept"), [(410, []), (401, [ORDER]), (403, [ORDER])])
async def test_only_a_removed_node_lets_go_of_its_machines(tmp_path, memory, status, kept):
    config = NodeConfig("http://127.0.0.1:1", "node_x", "redis://x", "n1", tmp_path)
    host = MachineHost(config, Studio(status))
    host._orders = memory.read_orders()
    with pytest.raises(StudioRefused):
        await host.tell_once()
    assert memory.read_orders() == kept
