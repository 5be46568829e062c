"""Decides what each step computes, and who waits: continuous batching without a tensor in sight.

Running answers get their next token first, so that the time between two tokens is bounded by one
step's token budget; what is left of it reads prompts, piece by piece. Between tenants the service
is fair by virtual counters of computed tokens (Sheng et al., "Fairness in Serving Large Language
Models", arXiv 2401.00588, algorithm 1, all tokens weighted alike); within one, who came first is
first. When blocks run out, the latest to come gives up its own, keeps its place in the line, and is
computed again later: the first of all is never disturbed, so that everybody's turn comes.
"""

import itertools
from bisect import insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from engine.serve.blocks import BlockPool, make_key


@dataclass(frozen=True)
class PlanLimits:
    """How much at once."""

    max_batch_tokens: int
    """Tokens of one step."""
    max_running: int
    """Requests that hold blocks."""
    max_running_of_tenant: int | None = None

    def __post_init__(self) -> None:
        """Raise ValueError where running answers alone could fill a step: nobody could enter."""
        if self.max_batch_tokens <= self.max_running:
            raise ValueError(
                f"max_batch_tokens {self.max_batch_tokens} must be more than max_running "
                f"{self.max_running}: raise it, or lower max_running."
            )


@dataclass(eq=False)
class Stream:
    """A request as the planner sees it: tokens, of which the first are computed."""

    token_ids: list[int]
    """The prompt; the answer is added to it."""
    root: bytes | None = None
    """First link of its blocks' keys; None shares nothing."""
    tenant: str = ""
    max_tokens: int = 0
    """Most that are added."""
    deadline: float | None = None
    """On the planner's caller's clock."""

    place: int = field(default=-1, init=False)
    """Its turn in the order of arrival; also after it gave up its blocks."""
    num_prompt_tokens: int = field(init=False)
    num_computed: int = field(default=0, init=False)
    """Positions whose keys and values are in its blocks."""
    num_cached: int = field(default=0, init=False)
    """Prompt tokens found ready when it first came to run."""
    num_preemptions: int = field(default=0, init=False)
    blocks: list[int] = field(default_factory=list, init=False)
    keys: list[bytes] = field(default_factory=list, init=False)
    is_running: bool = field(default=False, init=False)
    _num_charged: int = field(default=0, init=False)
    _num_named: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        """Count the prompt."""
        self.num_prompt_tokens = len(self.token_ids)

    @property
    def num_left(self) -> int:
        """Tokens that are known and not computed."""
        return len(self.token_ids) - self.num_computed


@dataclass(frozen=True)
class Chunk:
    """A part of one step: some next tokens of one stream."""

    stream: Stream
    start: int
    count: int

    @property
    def is_last(self) -> bool:
        """True when the token after it is to be drawn."""
        return self.start + self.count == len(self.stream.token_ids)


@dataclass
class _Tenant:
    """What one tenant has had, and who of it is here."""

    served: int = 0
    """Computed tokens, lifted to the others' when it comes back: idling saves up nothing."""
    waiting: list[Stream] = field(default_factory=list)
    num_running: int = 0

    @property
    def is_here(self) -> bool:
        return bool(self.waiting or self.num_running)


def _by_place(stream: Stream) -> int:
    return stream.place


class Planner:
    """All requests that are here, in two lines: those that hold blocks, and those that wait."""

    def __init__(self, pool: BlockPool, limits: PlanLimits) -> None:
        self.pool = pool
        self.num_preemptions = 0
        self._limits = limits
        self._places = itertools.count()
        self._running: list[Stream] = []  # by place
        self._tenants: dict[str, _Tenant] = {}

    @property
    def num_running(self) -> int:
        """Requests that hold blocks."""
        return len(self._running)

    @property
    def num_waiting(self) -> int:
        """Requests that hold none."""
        return sum(len(tenant.waiting) for tenant in self._tenants.values())

    @property
    def streams(self) -> list[Stream]:
        """Everybody who is here."""
        return [*self._running, *self.waiting()]

    def waiting(self) -> Iterator[Stream]:
        """Yield those that hold no blocks."""
        for tenant in self._tenants.values():
            yield from tenant.waiting

    def count_waiting_of(self, tenant: str) -> int:
        """Return how many of a tenant's requests wait."""
        return len(self._tenants[tenant].waiting) if tenant in self._tenants else 0

    def fits(self, num_prompt_tokens: int, max_tokens: int) -> bool:
        """Say whether the pool could ever hold such a request."""
        return self.pool.count_needed(num_prompt_tokens + max_tokens) <= self.pool.num_blocks

    def enter(self, stream: Stream) -> None:
        """Put a request into its tenant's line.

        Raises:
            ValueError: it is empty, or the pool could never hold it.
        """
        if not stream.token_ids or not self.fits(stream.num_prompt_tokens, stream.max_tokens):
            raise ValueError(f"{len(stream.token_ids)} + {stream.max_tokens} tokens never fit")
        stream.place = next(self._places)
        floor = min((t.served for t in self._tenants.values() if t.is_here), default=None)
        if floor is None:
            self._tenants.clear()
        else:
            self._forget_idle(floor)
        tenant = self._tenants.setdefault(stream.tenant, _Tenant())
        if not tenant.is_here:
            tenant.served = max(tenant.served, floor or 0)
        insort(tenant.waiting, stream, key=_by_place)

    def plan(self) -> list[Chunk]:
        """Choose the next step's chunks and see to their blocks; empty when there is no work."""
        chunks = self._plan_decodes()
        budget = self._limits.max_batch_tokens - len(chunks)
        return chunks + self._plan_prompts(budget)

    def plan_ahead(self, chunks: Iterable[Chunk]) -> list[Chunk]:
        """Return the chunks behind those under way, each the one token that is drawn after it.

        Nobody gives up blocks for them: with too few there are none, and `plan` is to be asked
        once the tokens are known. So it is while others wait or read their prompts.
        """
        next_ones = [Chunk(chunk.stream, chunk.start + chunk.count, 1) for chunk in chunks]
        if self.num_waiting or any(not each.stream.is_running for each in next_ones):
            return []
        missing = [
            self.pool.count_needed(each.start + 1) - len(each.stream.blocks) for each in next_ones
        ]
        if sum(max(0, count) for count in missing) > self.pool.num_available:
            return []
        for each, count in zip(next_ones, missing, strict=True):
            each.stream.blocks += self.pool.take(max(0, count))
        return next_ones

    def mark_computed(self, chunk: Chunk) -> None:
        """Record that a chunk's keys and values are written."""
        stream, end = chunk.stream, chunk.start + chunk.count
        stream.num_computed = end
        # What is computed again after giving up blocks was our doing, and is not charged again.
        self._tenants[stream.tenant].served += max(0, end - stream._num_charged)
        stream._num_charged = max(end, stream._num_charged)
        if stream.root is not None:
            num_full = end // self.pool.block_size
            self._extend_keys(stream, num_full)
            for index in range(stream._num_named, num_full):
                self.pool.name(stream.blocks[index], stream.keys[index])
            stream._num_named = num_full

    def leave(self, stream: Stream, *, is_poisoned: bool = False) -> None:
        """Take a request out, wherever it is; nobody finds what a poisoned one has computed."""
        tenant = self._tenants[stream.tenant]
        if stream.is_running:
            if is_poisoned:
                self.pool.forget(stream.blocks)
            self._running.remove(stream)
            self._give_up_blocks(stream)
        else:
            tenant.waiting.remove(stream)

    def list_late(self, now: float) -> list[Stream]:
        """Return the requests whose deadline is past."""
        return [s for s in self.streams if s.deadline is not None and s.deadline <= now]

    def count_ahead(self, tokens_of_answer: float) -> float:
        """Predict how many tokens are computed before a newcomer's turn comes.

        `tokens_of_answer` is what an answer has on average; none is longer than it may be.
        """
        streams = self.streams
        ahead = float(sum(s.num_left for s in streams if s.num_left > 1 or not s.is_running))
        num_over = len(streams) + 1 - self._limits.max_running
        if num_over > 0:  # somebody has to end before
            lengths = sorted(self._predict_rest(s, tokens_of_answer) for s in streams)
            ahead += len(self._running) * lengths[min(num_over, len(lengths)) - 1]
        return ahead

    @staticmethod
    def _predict_rest(stream: Stream, tokens_of_answer: float) -> float:
        num_said = len(stream.token_ids) - stream.num_prompt_tokens
        return max(1.0, min(tokens_of_answer, stream.max_tokens) - num_said)

    def _forget_idle(self, floor: int) -> None:
        idle = [n for n, t in self._tenants.items() if not t.is_here and t.served <= floor]
        for name in idle:
            del self._tenants[name]

    def _plan_decodes(self) -> list[Chunk]:
        chunks = []
        for stream in list(self._running):
            # Whoever gives up blocks for it came later, and so has no chunk yet.
            if stream.is_running and stream.num_left == 1 and self._grow(stream):
                chunks.append(Chunk(stream, stream.num_computed, 1))
        return chunks

    def _grow(self, stream: Stream) -> bool:
        """See to the block of its next token; False when it had to give up its own."""
        while len(stream.blocks) < self.pool.count_needed(len(stream.token_ids)):
            if self.pool.num_available:
                stream.blocks += self.pool.take(1)
                continue
            latest = self._running.pop()
            self._preempt(latest)
            if latest is stream:
                return False
        return True

    def _preempt(self, stream: Stream) -> None:
        self._give_up_blocks(stream)
        stream.num_preemptions += 1
        self.num_preemptions += 1
        insort(self._tenants[stream.tenant].waiting, stream, key=_by_place)

    def _give_up_blocks(self, stream: Stream) -> None:
        self.pool.let_go(stream.blocks)
        stream.blocks, stream.num_computed, stream._num_named = [], 0, 0
        stream.is_running = False
        self._tenants[stream.tenant].num_running -= 1

    def _plan_prompts(self, budget: int) -> list[Chunk]:
        """Spend what the step has left on prompts, always for the tenant that has had least."""
        chunks: list[Chunk] = []
        reading: dict[str, list[Stream]] = {}
        for stream in self._running:
            if stream.num_left > 1:
                reading.setdefault(stream.tenant, []).append(stream)
        spent = dict.fromkeys(self._tenants, 0)
        may_admit = True
        while budget > 0:
            names = [
                n for n in self._tenants if reading.get(n) or (may_admit and self._has_next(n))
            ]
            if not names:
                break
            name = min(names, key=lambda n: self._tenants[n].served + spent[n])
            if reading.get(name):
                stream = reading[name].pop(0)
            else:
                stream = self._tenants[name].waiting[0]
                # Who does not fit holds back all behind: smaller ones would keep it out for ever.
                may_admit = self._admit(stream)
                if not may_admit:
                    continue
            count = min(budget, stream.num_left)
            chunks.append(Chunk(stream, stream.num_computed, count))
            budget -= count
            spent[name] += count
        return chunks

    def _has_next(self, name: str) -> bool:
        tenant, most = self._tenants[name], self._limits.max_running_of_tenant
        return bool(tenant.waiting) and (most is None or tenant.num_running < most)

    def _admit(self, stream: Stream) -> bool:
        """Give a waiting request its blocks, if there are enough and others can still grow."""
        if len(self._running) >= self._limits.max_running:
            return False
        pool, num_tokens = self.pool, len(stream.token_ids)
        found: list[int] = []
        if stream.root is not None:
            num_full = (num_tokens - 1) // pool.block_size  # one token is left: it gives logits
            self._extend_keys(stream, num_full)
            found = pool.find(stream.keys[:num_full])
        num_missing = pool.count_needed(num_tokens) - len(found)
        if num_missing + len(self._running) > pool.num_available:
            pool.let_go(found)
            return False
        stream.blocks = found + pool.take(num_missing)
        stream.num_computed = len(found) * pool.block_size
        stream._num_named = len(found)
        if not stream.num_preemptions:
            stream.num_cached = stream.num_computed
        tenant = self._tenants[stream.tenant]
        tenant.waiting.remove(stream)
        tenant.num_running += 1
        stream.is_running = True
        insort(self._running, stream, key=_by_place)
        return True

    def _extend_keys(self, stream: Stream, num_full: int) -> None:
        assert stream.root is not None
        size = self.pool.block_size
        while len(stream.keys) < num_full:
            start = len(stream.keys) * size
            before = stream.keys[-1] if stream.keys else stream.root
            stream.keys.append(make_key(before, stream.token_ids[start : start + size]))
