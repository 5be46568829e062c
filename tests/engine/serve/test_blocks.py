"""The block pool: every block in one place, shared only with who may, nothing lost."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.serve.blocks import BlockPool, make_key, make_root

NUM_BLOCKS = 6


class PoolMachine(RuleBasedStateMachine):
    """Random holders, keys and poison, beside a plain account of who holds what."""

    def __init__(self):
        super().__init__()
        self.pool = BlockPool(NUM_BLOCKS, block_size=4)
        self.held: list[list[int]] = []
        self.contents: dict[int, bytes] = {}
        """What a holder last wrote into a block."""

    @rule(count=st.integers(0, 4))
    def take(self, count):
        if count > self.pool.num_available:
            with pytest.raises(ValueError, match="wanted"):
                self.pool.take(count)
            return
        before = {block for blocks in self.held for block in blocks}
        blocks = self.pool.take(count)
        assert len(set(blocks)) == count and not before & set(blocks)
        for block in blocks:
            self.contents[block] = b""
        self.held.append(blocks)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), key=st.sampled_from([b"a", b"b", b"c"]))
    def name(self, data, key):
        blocks = data.draw(st.sampled_from(self.held))
        for block in blocks[:1]:
            if not self.contents[block]:  # a block is written once
                self.contents[block] = key
                self.pool.name(block, key)

    @rule(keys=st.lists(st.sampled_from([b"a", b"b", b"c"]), max_size=2, unique=True))
    def find(self, keys):
        blocks = self.pool.find(keys)
        assert [self.contents[block] for block in blocks] == keys[: len(blocks)]
        self.held.append(blocks)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), is_poisoned=st.booleans())
    def let_go(self, data, is_poisoned):
        blocks = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        if is_poisoned:
            self.pool.forget(blocks)
            for key in (b"a", b"b", b"c"):
                found = self.pool.find([key])
                assert not set(found) & set(blocks)
                self.pool.let_go(found)
        self.pool.let_go(blocks)

    @invariant()
    def every_block_is_in_one_place(self):
        pool = self.pool
        assert pool.num_free + pool.num_cached + pool.num_used == NUM_BLOCKS
        assert pool.num_used == len({block for blocks in self.held for block in blocks})

    def teardown(self):
        for blocks in self.held:
            self.pool.let_go(blocks)
        assert self.pool.num_used == 0


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_what_was_let_go_longest_ago_is_given_away_first():
    pool = BlockPool(3, block_size=4)
    blocks = pool.take(3)
    for block, key in zip(blocks, (b"a", b"b", b"c"), strict=True):
        pool.name(block, key)
    pool.let_go(blocks[:1])
    pool.let_go(blocks[1:])
    pool.let_go(pool.find([b"a"]))  # used again: now the youngest
    pool.take(2)
    assert [len(pool.find([key])) for key in (b"a", b"b", b"c")] == [1, 0, 0]


def test_the_end_of_a_prefix_goes_before_its_start():
    pool = BlockPool(2, block_size=4)
    blocks = pool.take(2)
    pool.name(blocks[0], b"start")
    pool.name(blocks[1], b"end")
    pool.let_go(blocks)
    pool.take(1)
    assert len(pool.find([b"start"])) == 1


def test_without_a_cache_nothing_is_found():
    pool = BlockPool(2, block_size=4, has_cache=False)
    pool.name(pool.take(1)[0], b"a")
    assert pool.find([b"a"]) == []


def test_keys_differ_by_tenant_adapter_tokens_and_what_was_before():
    roots = {make_root(*parts) for parts in (("", b""), ("ab", b"c"), ("a", b"bc"), ("", b"abc"))}
    assert len(roots) == 4
    first, second = sorted(roots)[:2]
    keys = {make_key(root, ids) for root in (first, second) for ids in ((1, 2), (2, 1), (1, 258))}
    assert len(keys) == 6
