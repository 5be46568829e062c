"""What a node remembers of its machines: what was ordered last, and what has been done."""

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from workers.files import read_json, write_whole
from workers.machines.orders import MachineOrder
from workers.machines.plan import Done

_ORDERS = TypeAdapter(list[MachineOrder])


class MachineMemory:
    """A folder of the node's: `orders.json`, and `done/<machine>.json` for each machine."""

    def __init__(self, path: Path) -> None:
        """Take the folder; `create` makes it."""
        self._orders, self._done = path / "orders.json", path / "done"

    def create(self) -> None:
        """Make the folder where it is missing."""
        self._done.mkdir(mode=0o700, parents=True, exist_ok=True)

    def read_orders(self) -> list[MachineOrder] | None:
        """Return the last orders; None where the studio has not said any yet."""
        try:
            return _ORDERS.validate_json(self._orders.read_bytes())
        except (OSError, ValidationError):
            return None

    def write_orders(self, orders: list[MachineOrder]) -> None:
        """Remember orders, without their secrets: those are in memory alone."""
        bare = [order.model_copy(update={"secrets": {}}) for order in orders]
        write_whole(self._orders, _ORDERS.dump_json(bare))

    def read_done(self) -> dict[str, Done]:
        """Return what has been done for each machine."""
        found = {}
        for path in self._done.glob("*.json"):
            body = read_json(path) or {}
            life, start = body.get("life"), body.get("start")
            if isinstance(life, int) and isinstance(start, int):
                found[path.stem] = Done(life, start)
        return found

    def write_done(self, machine: str, done: Done) -> None:
        """Remember what has been done for a machine."""
        body = json.dumps({"life": done.life, "start": done.start})
        write_whole(self._done / f"{machine}.json", body.encode())

    def forget(self, machine: str) -> None:
        """Remember a machine that is no more no longer."""
        (self._done / f"{machine}.json").unlink(missing_ok=True)
