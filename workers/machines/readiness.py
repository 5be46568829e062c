"""Which ports of a machine that has started answer: what its tools take to come up, measured.

A port that answered once in a start counts for all of it: this says how a start goes, and is no
watch over the tools. Only a connection is made and nothing is said, so that what waits for its
first visitor goes on waiting.
"""

import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from workers.machines.orders import MachineOrder, MachinePhase, MachineState

_AT_ONCE = 16
_CONNECT_S = 0.5


class Readiness:
    """One node's. It is in memory alone: a node that comes back looks once more."""

    def __init__(self) -> None:
        """Know of none."""
        self._ready: dict[tuple[str, int, int], set[int]] = {}
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="ready")

    def close(self) -> None:
        """Look no more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def look(
        self, orders: Iterable[MachineOrder], states: Iterable[MachineState]
    ) -> list[MachineState]:
        """Return the states, each with the ports of its machine that have answered by now."""
        ports = {order.machine: order.ports for order in orders}
        states = list(states)
        up = {
            (state.machine, state.life, state.start): state
            for state in states
            if state.phase is MachinePhase.RUNNING and state.address
        }
        self._ready = {key: self._ready.get(key, set()) for key in up}
        asked = [
            (key, state.address, port)
            for key, state in up.items()
            for port in ports.get(state.machine, ())
            if port not in self._ready[key]
        ]
        answers = self._pool.map(lambda each: _answers(each[1], each[2]), asked)
        for (key, _, port), is_there in zip(asked, answers, strict=True):
            if is_there:
                self._ready[key].add(port)
        return [self._tell(state) for state in states]

    def _tell(self, state: MachineState) -> MachineState:
        ready = self._ready.get((state.machine, state.life, state.start))
        return state.model_copy(update={"ready_ports": tuple(sorted(ready))}) if ready else state


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=_CONNECT_S).close()
    except OSError:
        return False
    return True
