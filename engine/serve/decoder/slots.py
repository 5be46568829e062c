"""The adapters beside a torch decoder: low-rank updates of several slots in one batch.

Each target's matrices of all slots are one stack, padded to the largest rank; entry 0 is zeros, the
bare base. N rows, R rank, I inputs, O outputs, C slots the stack has room for.
"""

import torch
from torch import Tensor

from engine.serve.decoder.step import LoraPair

Target = tuple[int, str]
_GATHERED_ROWS = 64
"""A batch of no more rows copies each row's matrices together and multiplies once (the gathered
product of Punica, arXiv 2310.18547); with more, each slot multiplies its own rows."""


class RowsOfSlots:
    """Which rows of a batch are whose."""

    def __init__(self, slots: list[int], starts: list[int], device: torch.device) -> None:
        by_slot: dict[int, list[tuple[int, int]]] = {}
        for slot, start, end in zip(slots, starts[:-1], starts[1:], strict=True):
            if slot >= 0:
                by_slot.setdefault(slot, []).append((start, end))
        self.groups = [(slot, _join(ranges, device)) for slot, ranges in by_slot.items() if ranges]
        self.entries_N: Tensor | None = None
        """Each row's entry of a stack, where rows are to be gathered."""
        if len(self.groups) > 1 and starts[-1] <= _GATHERED_ROWS:
            counts = torch.tensor(starts).diff()
            entries = torch.tensor(slots).repeat_interleave(counts) + 1
            self.entries_N = entries.to(device)

    @classmethod
    def from_entries(cls, entries_N: Tensor | None) -> "RowsOfSlots":
        """Rows whose entries a graph reads anew each time; None is a batch without adapters."""
        rows = cls([], [0], torch.device("cpu"))
        rows.entries_N = entries_N
        return rows


def _join(ranges: list[tuple[int, int]], device: torch.device) -> slice | Tensor:
    if all(before[1] == after[0] for before, after in zip(ranges, ranges[1:], strict=False)):
        return slice(ranges[0][0], ranges[-1][1])
    return torch.cat([torch.arange(start, end) for start, end in ranges]).to(device)


class LoraSlots:
    """All adapters of a decoder. A target that no adapter has costs nothing."""

    def __init__(self, max_adapters: int, dtype: torch.dtype, device: torch.device) -> None:
        self._max_adapters = max_adapters
        self._dtype, self._device = dtype, device
        self._filled: dict[int, frozenset[Target]] = {}
        self._stacks: dict[Target, tuple[Tensor, Tensor]] = {}
        self.version = 0
        """Grows when a stack is made anew, so that who holds on to one knows."""

    def set(self, slot: int, pairs: dict[Target, LoraPair]) -> None:
        """Fill a slot that may have been filled before.

        Raises:
            ValueError: when there is no such slot.
        """
        self.check(slot)
        self.drop(slot)
        for target, pair in pairs.items():
            down_CRI, up_COR = self._make_room(target, slot, pair)
            rank = pair.a_RI.shape[0]
            down_CRI[slot + 1, :rank] = pair.a_RI.to(self._device, self._dtype)
            up_COR[slot + 1, :, :rank] = pair.b_OR.to(self._device, self._dtype)
        self._filled[slot] = frozenset(pairs)

    def check(self, slot: int) -> None:
        """Prove that there is a slot of that number.

        Raises:
            ValueError: when there is none.
        """
        if not 0 <= slot < self._max_adapters:
            raise ValueError(f"slot {slot} is none of {self._max_adapters}")

    def drop(self, slot: int) -> None:
        """Empty a slot; an empty one stays so. The last adapter of a target frees its memory."""
        for target in self._filled.pop(slot, frozenset()):
            if any(target in others for others in self._filled.values()):
                for stack in self._stacks[target]:
                    stack[slot + 1] = 0
            else:
                del self._stacks[target]
                self.version += 1

    def add(self, out_NO: Tensor, rows_NI: Tensor, target: Target, rows: RowsOfSlots) -> None:
        """Add each row's update to what the base made of it, in place."""
        if target not in self._stacks:
            return
        down_CRI, up_COR = self._stacks[target]
        if rows.entries_N is not None:
            self._add_gathered(out_NO, rows_NI, self._stacks[target], rows.entries_N)
            return
        for slot, own in rows.groups:
            if target in self._filled[slot]:
                update = rows_NI[own] @ down_CRI[slot + 1].T @ up_COR[slot + 1].T
                if isinstance(own, slice):
                    out_NO[own] += update
                else:
                    out_NO.index_add_(0, own, update)

    def _add_gathered(
        self, out_NO: Tensor, rows_NI: Tensor, stacks: tuple[Tensor, Tensor], entries_N: Tensor
    ) -> None:
        down_CRI, up_COR = stacks
        entries_N = torch.where(entries_N < len(down_CRI), entries_N, 0)
        low_NR1 = torch.bmm(down_CRI.index_select(0, entries_N), rows_NI[..., None])
        out_NO += torch.bmm(up_COR.index_select(0, entries_N), low_NR1)[..., 0]

    def _make_room(self, target: Target, slot: int, pair: LoraPair) -> tuple[Tensor, Tensor]:
        rank, inputs = pair.a_RI.shape
        outputs = pair.b_OR.shape[0]
        room, rank_room = 0, 0
        old = self._stacks.get(target)
        if old is not None:
            room, rank_room = old[0].shape[:2]
        if slot + 1 < room and rank <= rank_room:
            assert old is not None
            return old
        new_room = max(room, min(self._max_adapters + 1, _power_of_two(slot + 2)))
        new_rank = max(rank_room, rank)
        down, up = (
            torch.zeros(size, dtype=self._dtype, device=self._device)
            for size in ((new_room, new_rank, inputs), (new_room, outputs, new_rank))
        )
        if old is not None:
            down[:room, :rank_room], up[:room, :, :rank_room] = old
        self._stacks[target] = (down, up)
        self.version += 1
        return down, up


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()
