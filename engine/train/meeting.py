"""How the processes that torchrun starts find those that it started with them.

torchrun keeps one store for all starts of a group, and torch writes addresses into it under the
same names each time: a process that comes before the first one would read where that one was
before, and call on somebody who is dead, or on a stranger.
"""

import uuid
from datetime import timedelta

from torch.distributed import DistStoreError
from torch.distributed.distributed_c10d import PrefixStore, Store

_ROUND = "athanor/round"
_LOOK_AGAIN = timedelta(seconds=0.5)


def meet(store: Store, rank: int, num_ranks: int) -> Store:
    """Return a part of a store that this start of the group has to itself; every process calls it.

    The first names the round. The others say their own name in it, and go on once the first has
    named them back: no earlier round can have.
    """
    name = uuid.uuid4().hex
    if rank == 0:
        store.set(_ROUND, name)
        others = [store.get(f"{name}/{other}").decode() for other in range(1, num_ranks)]
        store.set(f"{name}/all", " ".join(others))
        return PrefixStore(name, store)
    while True:
        current = store.get(_ROUND).decode()
        store.set(f"{current}/{rank}", name)
        if name in _read_all(store, current):
            return PrefixStore(current, store)


def _read_all(store: Store, current: str) -> list[str]:
    try:
        store.wait([f"{current}/all"], _LOOK_AGAIN)
    except DistStoreError:  # not yet, or the first has begun another round
        return []
    return store.get(f"{current}/all").decode().split()
