"""Makes a node's containers what the studio wants, one deed after the other, and tells how it goes.

It remembers nothing but what its folder and the engine say, so it may be killed at any moment. A
deed that takes long, such as the end of a machine that does not want to, keeps no other waiting.
"""

import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

import structlog

from workers.machines.memory import MachineMemory
from workers.machines.orders import MachineOrder, MachinePhase, MachineState
from workers.machines.plan import Container, Deed, Done, Step, plan_next
from workers.machines.spares import SpareEngine, SpareWish
from workers.machines.walls import EngineFault

log = structlog.get_logger()

_AT_ONCE = 16
_PATIENCE_S = 1.0
"""For how long a pass waits for the first of its deeds to be done."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0


@dataclass(frozen=True)
class _Failure:
    step: Step
    """Only this is put off: who wants something else now does not wait for it."""
    message: str
    pause_s: float
    again_at: float


class Reconciler:
    """One node's."""

    def __init__(
        self,
        engine: SpareEngine,
        memory: MachineMemory,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take what it works with; `clock` in seconds."""
        self._engine, self._memory, self._clock = engine, memory, clock
        self.containers: list[Container] = []
        """As the last pass left them."""
        self._failures: dict[str, _Failure] = {}
        self._going: dict[str, Future[None]] = {}
        self._tending: Future[None] | None = None
        self._tend_at = 0.0
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="machine")

    @property
    def is_busy(self) -> bool:
        """Whether deeds are under way: the next pass tells how they went."""
        return bool(self._going)

    def close(self) -> None:
        """Wait for the deeds under way."""
        self._pool.shutdown()

    def pass_once(
        self, orders: Iterable[MachineOrder], spared: Collection[str] = ()
    ) -> list[MachineState]:
        """Begin the next deed for each machine that needs one, and return how all of them are.

        Those of `spared` are left as they are, without an order too.

        Raises:
            EngineFault: the engine cannot even say what is there.
        """
        wanted = {order.machine: order for order in orders}
        done = self._memory.read_done()
        containers = self._engine.list_containers()
        deeds = plan_next(wanted, [each for each in containers if each.machine not in spared], done)
        for deed in deeds:
            if self._is_due(deed):
                going = self._pool.submit(self._try, deed, wanted, done)
                self._going[deed.machine] = going
        if changing := set(self._going):  # of all others is known already how they are
            wait(self._going.values(), _PATIENCE_S, FIRST_COMPLETED)
            self._let_go()
            done = self._memory.read_done()  # before: what is made in between is not gone
            containers = [each for each in containers if each.machine not in changing]
            containers += self._engine.list_containers(changing)
        self.containers = containers
        self._forget(wanted, containers, done)
        self._adopt(wanted, containers, done)
        for order in wanted.values():
            self._refresh(order, containers)
        return [self._tell(order, containers, done) for order in wanted.values()]

    def tend_spares(self, wish: SpareWish) -> None:
        """See to the spare machines, where there is nothing else to do; this waits for nothing."""
        is_tending = self._tending is not None and not self._tending.done()
        if self._going or is_tending or self._clock() < self._tend_at:
            return
        self._tending = self._pool.submit(self._tend, wish)

    def _tend(self, wish: SpareWish) -> None:
        try:
            self._engine.tend_spares(wish)
        except (EngineFault, OSError) as error:
            self._tend_at = self._clock() + _LONGEST_PAUSE_S
            log.warning("spares_failed", error=str(error))

    def _let_go(self) -> None:
        """Think no more of the deeds that are done."""
        for machine, going in list(self._going.items()):
            if going.done():
                del self._going[machine]
                if error := going.exception():  # ours, not the engine's
                    log.error("machine_deed_broke", machine=machine, exc_info=error)

    def list_strays(self, orders: Iterable[MachineOrder]) -> tuple[str, ...]:
        """Return the machines that the last pass left here and that nobody wants."""
        there = {container.machine for container in self.containers}
        return tuple(sorted(there - {order.machine for order in orders}))

    def _adopt(
        self,
        orders: dict[str, MachineOrder],
        containers: list[Container],
        done: dict[str, Done],
    ) -> None:
        """Remember of a spare that became a machine what could not be written down any more."""
        for container in containers:
            order = orders.get(container.machine)
            if order is None or container.machine in self._going or not container.is_up:
                continue
            known = done.get(order.machine, Done())
            if container.life == order.life > known.life:
                done[order.machine] = Done(order.life, order.start)
                self._memory.write_done(order.machine, done[order.machine])

    def _refresh(self, order: MachineOrder, containers: list[Container]) -> None:
        """Bring what a running machine is told up to date; orders kept over a restart hold none."""
        if order.secrets and any(
            each.machine == order.machine and each.life == order.life and each.is_up
            for each in containers
        ):
            try:
                self._engine.refresh_secrets(order)
            # ValueError: of a file that its owner has filled with what is no text.
            except (EngineFault, OSError, ValueError) as error:
                log.warning("machine_secrets_failed", machine=order.machine, error=str(error))

    def _is_due(self, deed: Deed) -> bool:
        if deed.machine in self._going:
            return False
        failure = self._failures.get(deed.machine)
        return failure is None or failure.step is not deed.step or self._clock() >= failure.again_at

    def _try(self, deed: Deed, orders: dict[str, MachineOrder], done: dict[str, Done]) -> None:
        known = done.get(deed.machine, Done())
        following: Deed | None = deed
        while following is not None:
            following = self._try_one(following, orders.get(deed.machine), known)

    def _try_one(self, deed: Deed, order: MachineOrder | None, done: Done) -> Deed | None:
        """Do a deed, and return what is done at once after it, where something is."""
        try:
            following = self._do(deed, order, done)
        except (EngineFault, OSError) as error:
            before = self._failures.get(deed.machine)
            pause = min(2 * before.pause_s, _LONGEST_PAUSE_S) if before else _FIRST_PAUSE_S
            again_at = self._clock() + pause
            self._failures[deed.machine] = _Failure(deed.step, str(error)[:500], pause, again_at)
            log.warning(
                "machine_deed_failed",
                machine=deed.machine,
                step=deed.step.value,
                error=str(error),
            )
            return None
        self._failures.pop(deed.machine, None)
        log.info("machine_deed", machine=deed.machine, step=deed.step.value)
        return following

    def _do(self, deed: Deed, order: MachineOrder | None, done: Done) -> Deed | None:
        if deed.step is Step.CREATE:
            assert order is not None
            made = self._engine.create(order)
            self._memory.write_done(order.machine, replace(done, life=order.life))
            return Deed(Step.START, order.machine, made) if made else None
        if deed.step is Step.START:
            assert order is not None
            # Remembered first: of a start that was cut off the container says that it never began.
            self._memory.write_done(order.machine, Done(order.life, order.start))
            self._engine.start(deed.container, order)
        elif deed.step is Step.STOP:
            self._engine.stop(deed.container)
        else:
            self._engine.remove(deed.container)
        return None

    def _forget(
        self,
        orders: dict[str, MachineOrder],
        containers: list[Container],
        done: dict[str, Done],
    ) -> None:
        """Let go of what machines that are no more have left: their memory, secrets, networks."""
        there = {container.machine for container in containers} | set(self._going)
        for machine in set(done) - set(orders) - there:
            self._memory.forget(machine)
            self._failures.pop(machine, None)
        self._engine.forget_secrets({*orders, *there})
        lives = {(order.machine, order.life) for order in orders.values()}
        lives |= {(each.machine, each.life) for each in containers}
        if not self._going:  # what is being made may not be told of yet
            self._engine.remove_idle_scratch(lives)
        if not there - set(orders):  # a stray container may still be on its tenant's network
            self._engine.remove_idle_networks({order.tenant for order in orders.values()})

    def _tell(
        self, order: MachineOrder, containers: list[Container], done: dict[str, Done]
    ) -> MachineState:
        mine = [each for each in containers if each.machine == order.machine]
        current = next((each for each in mine if each.life == order.life), None)
        known, failure = done.get(order.machine, Done()), self._failures.get(order.machine)
        state = MachineState(
            machine=order.machine,
            life=known.life,
            start=known.start,
            phase=_find_phase(order, current, known, has_failed=failure is not None),
        )
        if failure is not None:
            state = state.model_copy(update={"message": failure.message})
        if current is None:
            return state
        facts = {
            "exit_code": current.exit_code if current.ended_at and not current.is_up else None,
            "was_out_of_memory": current.was_out_of_memory,
            "started_at": current.started_at,
            "ended_at": None if current.is_up else current.ended_at,
            "address": current.address if current.is_up else "",
            "is_created": True,
        }
        return state.model_copy(update=facts)


def _find_phase(
    order: MachineOrder, current: Container | None, known: Done, *, has_failed: bool
) -> MachinePhase:
    if current is not None and current.is_up:
        return MachinePhase.RUNNING
    if has_failed:
        return MachinePhase.FAILED
    if current is not None:
        is_ended = current.status == "exited" and order.start <= known.start
        is_coming = order.is_running and not is_ended
        return MachinePhase.CREATING if is_coming else MachinePhase.STOPPED
    is_coming = order.is_running and order.life > known.life
    return MachinePhase.CREATING if is_coming else MachinePhase.ABSENT
