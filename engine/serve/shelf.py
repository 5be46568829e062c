"""The adapters beside one base: which names answer, where each lies, and who is using it.

A loaded adapter has a slot of the decoder and a digest of its content. A request holds both from
its start to its end, so that a name that is given to another adapter meanwhile changes nothing
for it, and a slot is emptied only when nobody uses it.
"""

import threading
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass

from engine.errors import EngineError
from engine.serve.backend import ModelUnknown, RequestRefused
from engine.serve.decoder.step import Decoder, LoraPair
from engine.status import Reason

_MOST_READERS = 4  # each holds an adapter in memory that is not counted yet
RunBetweenSteps = Callable[[Callable[[Decoder], None]], None]


@dataclass(frozen=True)
class Adapter:
    """An adapter as a decoder takes it."""

    pairs: dict[tuple[int, str], LoraPair]
    digest: str
    """Of its files' content."""
    size_bytes: int
    """Memory that it takes beside the base."""


@dataclass(eq=False)
class Held:
    """A loaded adapter."""

    ref: str
    digest: str
    slot: int
    size_bytes: int
    num_users: int = 0


class Shelf:
    """All adapters of one server. Every method may be called from any thread."""

    def __init__(
        self,
        read: Callable[[str], Adapter],
        between_steps: RunBetweenSteps,
        *,
        num_slots: int,
        memory_bytes: int,
        kept: frozenset[str] = frozenset(),
        taken: frozenset[str] = frozenset(),
    ) -> None:
        """`kept` names are never unloaded to make room; `taken` ones are the base's."""
        self._read = read
        self._between_steps = between_steps
        self._memory_bytes = memory_bytes
        self._kept = kept
        self._taken = taken
        self._readers = threading.Semaphore(_MOST_READERS)
        self._change_lock = threading.Lock()  # one adapter comes or goes at a time
        self._names = threading.Condition()  # guards what follows
        self._held: dict[str, Held] = {}  # by name, asked least recently first
        self._free_slots = list(range(num_slots))

    def list_names(self) -> list[str]:
        """Return the names that answer."""
        with self._names:
            return sorted(self._held)

    def list_digests(self) -> list[tuple[str, str]]:
        """Return each name with its adapter's digest."""
        with self._names:
            return sorted((name, held.digest) for name, held in self._held.items())

    def hold(self, name: str) -> Held:
        """Take part in an adapter's use, until `let_go`.

        Raises:
            ModelUnknown: no adapter answers under this name.
        """
        with self._names:
            if name not in self._held:
                raise ModelUnknown(name)
            held = self._held[name] = self._held.pop(name)  # now the most recent
            held.num_users += 1
            return held

    def join(self, held: Held) -> None:
        """Take part in a use that somebody has, whatever the name means by now."""
        with self._names:
            assert held.num_users, "its slot may be empty"
            held.num_users += 1

    def let_go(self, held: Held) -> None:
        """End a use."""
        with self._names:
            held.num_users -= 1
            self._names.notify_all()

    def load(self, name: str, ref: str) -> None:
        """Make an adapter answer under `name`; see `Backend.load_adapter`."""
        if self._is_there(name, ref):
            return
        with self._readers:  # not in the line of changes: a slow hub holds up nobody else's
            adapter = self._read(ref)
        with self._change_lock:
            if self._is_there(name, ref):
                return
            slot = self._make_room(adapter.size_bytes)
            try:
                self._between_steps(lambda decoder: decoder.set_adapter(slot, adapter.pairs))
            except BaseException:
                insort(self._free_slots, slot)
                raise
            with self._names:
                self._held[name] = Held(ref, adapter.digest, slot, adapter.size_bytes)

    def _is_there(self, name: str, ref: str) -> bool:
        """Say whether an adapter answers under its name.

        Raises:
            RequestRefused: another one does.
        """
        with self._names:
            if name in self._held and self._held[name].ref == ref:
                return True
            if name in self._held or name in self._taken:
                raise RequestRefused(
                    "name_taken",
                    f"{name} is served already; unload it first.",
                    field="lora_name",
                )
            return False

    def unload(self, name: str) -> None:
        """Take a name away; see `Backend.unload_adapter`."""
        with self._change_lock:
            self._take_away(name)

    def _make_room(self, size_bytes: int) -> int:
        """Unload what was asked least recently until so many bytes more fit; return a free slot.

        Those that nobody uses go first: the others are waited for. An adapter that never fits is
        alone beside those that stay.
        """
        while True:
            with self._names:
                held_bytes = sum(held.size_bytes for held in self._held.values())
                loose = [name for name in self._held if name not in self._kept]
                idle = [name for name in loose if not self._held[name].num_users]
                oldest = next(iter(idle or loose), None)
            has_room = bool(self._free_slots) and held_bytes + size_bytes <= self._memory_bytes
            if oldest is None or has_room:
                break
            self._take_away(oldest)
        if not self._free_slots:
            raise EngineError(
                Reason.BAD_SPEC, f"adapters: {len(self._kept)} fill every slot; name fewer."
            )
        return self._free_slots.pop(0)  # a decoder may keep room up to the highest one only

    def _take_away(self, name: str) -> None:
        """Refuse who comes from now on, wait for who is there, and drop the weights."""
        with self._names:
            if name not in self._held:
                raise ModelUnknown(name, field="lora_name")
            held = self._held.pop(name)
            self._names.wait_for(lambda: not held.num_users)
        self._between_steps(lambda decoder: decoder.drop_adapter(held.slot))
        insort(self._free_slots, held.slot)
