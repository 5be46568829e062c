"""The blocks of the key-value pool: who holds which, and what lies ready in those nobody holds.

Pure bookkeeping over numbers: the keys and values themselves belong to the decoder. Only full
blocks are shared. A block's key is a digest over everything its keys and values depend on (tenant,
adapter, and all tokens up to its end), so that equal keys mean equal contents.
"""

import hashlib
import struct
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence


def make_root(tenant: str, adapter: bytes) -> bytes:
    """Return the first link of a request's keys: two of another tenant or adapter never meet."""
    digest = hashlib.blake2b(digest_size=32)
    for part in (tenant.encode(), adapter):
        digest.update(struct.pack("<Q", len(part)))  # so that no two pairs read alike
        digest.update(part)
    return digest.digest()


def make_key(before: bytes, token_ids: Sequence[int]) -> bytes:
    """Return the key of the block that holds `token_ids`, behind the one with the key `before`."""
    packed = struct.pack(f"<{len(token_ids)}I", *token_ids)
    return hashlib.blake2b(before + packed, digest_size=32).digest()


class BlockPool:
    """Hands out blocks. Each is free, or used by holders, or cached: held by none, its key known.

    At every time free + cached + used = all. Cached ones are given away when no free one is left,
    the one that was let go longest ago first.
    """

    def __init__(self, num_blocks: int, *, block_size: int, has_cache: bool = True) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self._has_cache = has_cache
        self._free = deque(range(num_blocks))
        self._cached: OrderedDict[int, None] = OrderedDict()  # let go longest ago first
        self._num_holders = [0] * num_blocks
        self._key_of: dict[int, bytes] = {}
        self._block_of: dict[bytes, int] = {}

    @property
    def num_free(self) -> int:
        """Blocks with nothing of use in them."""
        return len(self._free)

    @property
    def num_cached(self) -> int:
        """Blocks that nobody holds and that somebody may find again."""
        return len(self._cached)

    @property
    def num_used(self) -> int:
        """Blocks that somebody holds."""
        return self.num_blocks - len(self._free) - len(self._cached)

    @property
    def num_available(self) -> int:
        """Blocks that `take` can give."""
        return len(self._free) + len(self._cached)

    def count_needed(self, num_tokens: int) -> int:
        """Return how many blocks so many positions take."""
        return -(-num_tokens // self.block_size)

    def find(self, keys: Iterable[bytes]) -> list[int]:
        """Return, and hold, the blocks of the first keys up to one that is not there."""
        found: list[int] = []
        for key in keys:
            block = self._block_of.get(key)
            if block is None:
                break
            self._cached.pop(block, None)
            self._num_holders[block] += 1
            found.append(block)
        return found

    def take(self, num_blocks: int) -> list[int]:
        """Return, and hold, empty blocks.

        Raises:
            ValueError: there are not so many.
        """
        if num_blocks > self.num_available:
            raise ValueError(f"{num_blocks} blocks wanted, {self.num_available} left")
        return [self._take_one() for _ in range(num_blocks)]

    def let_go(self, blocks: Sequence[int]) -> None:
        """Give up a request's blocks, in its order; those with a key stay to be found again."""
        for block in reversed(blocks):  # the end of a prefix is of use to fewer than its start
            self._num_holders[block] -= 1
            if self._num_holders[block]:
                continue
            if block in self._key_of:
                self._cached[block] = None
            else:
                self._free.append(block)

    def name(self, block: int, key: bytes) -> None:
        """Let a held block be found under its key; the first of several with one key stays it."""
        if self._has_cache and key not in self._block_of:
            self._block_of[key] = block
            self._key_of[block] = key

    def forget(self, blocks: Iterable[int]) -> None:
        """Let held blocks not be found again: what is in them is not to be trusted."""
        for block in blocks:
            if (key := self._key_of.pop(block, None)) is not None:
                del self._block_of[key]

    def _take_one(self) -> int:
        if self._free:
            block = self._free.popleft()
        else:
            block, _ = self._cached.popitem(last=False)
            self.forget([block])
        self._num_holders[block] = 1
        return block
