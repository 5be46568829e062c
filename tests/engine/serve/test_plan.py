"""The planner: bounded steps, fair shares, kept quotas, nobody starved, nothing lost."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.serve.blocks import BlockPool, make_root
from engine.serve.plan import PlanLimits, Planner, Stream

BLOCK_SIZE = 4


def make_planner(num_blocks=64, *, tokens=16, running=4, of_tenant=None, has_cache=True) -> Planner:
    pool = BlockPool(num_blocks, block_size=BLOCK_SIZE, has_cache=has_cache)
    return Planner(pool, PlanLimits(tokens, running, of_tenant))


def make_stream(num_prompt, max_tokens=4, *, tenant="", first=0) -> Stream:
    ids = [first + index for index in range(num_prompt)]
    return Stream(ids, make_root(tenant, b""), tenant, max_tokens)


def do_step(planner: Planner) -> list:
    """Do as the step loop does; the token drawn is the stream's length."""
    chunks = planner.plan()
    settle(planner, chunks)
    return chunks


def settle(planner: Planner, chunks) -> None:
    for chunk in chunks:
        if chunk.stream not in planner.streams:  # it ended meanwhile
            continue
        planner.mark_computed(chunk)
        stream = chunk.stream
        if not chunk.is_last:
            continue
        if len(stream.token_ids) - stream.num_prompt_tokens + 1 >= stream.max_tokens:
            planner.leave(stream)
        else:
            stream.token_ids.append(len(stream.token_ids))


def run_until_over(planner: Planner, streams) -> int:
    """Step until all have ended; return the number of steps."""
    for num_steps in range(10_000):
        if not planner.streams:
            return num_steps
        assert do_step(planner), "requests are here and none can go on"
    raise AssertionError("they never end")


class PlannerMachine(RuleBasedStateMachine):
    """Random arrivals, steps and departures in a pool that is often too small."""

    def __init__(self):
        super().__init__()
        self.planner = make_planner(12, tokens=9, running=4, of_tenant=3)

    @rule(
        num_prompt=st.integers(1, 30),
        max_tokens=st.integers(1, 18),
        tenant=st.sampled_from("abc"),
        first=st.sampled_from([0, 0, 7]),
    )
    def enter(self, num_prompt, max_tokens, tenant, first):
        self.planner.enter(make_stream(num_prompt, max_tokens, tenant=tenant, first=first))

    @rule()
    def step(self):
        before = self.planner.streams
        oldest = min(before, key=lambda s: s.place, default=None)
        was_running = oldest is not None and oldest.is_running
        chunks = do_step(self.planner)
        assert bool(chunks) == bool(before)
        assert sum(chunk.count for chunk in chunks) <= 9
        assert len({chunk.stream for chunk in chunks}) == len(chunks)
        if was_running:  # the first of all is never disturbed
            assert oldest.is_running or oldest not in self.planner.streams

    @rule(data=st.data())
    def step_and_one_ahead(self, data):
        """As the step loop does where a decoder goes ahead; some end by a token that is read."""
        chunks = self.planner.plan()
        if any(chunk.count > 1 or not chunk.is_last for chunk in chunks):
            settle(self.planner, chunks)
            return
        going_on = [
            chunk
            for chunk in chunks
            if len(chunk.stream.token_ids) - chunk.stream.num_prompt_tokens + 1
            < chunk.stream.max_tokens
        ]
        free = self.planner.pool.num_available
        behind = self.planner.plan_ahead(going_on)
        assert [chunk.stream for chunk in behind] in ([], [chunk.stream for chunk in going_on])
        for chunk in behind:
            assert len(chunk.stream.blocks) * BLOCK_SIZE > chunk.start
        if not behind:
            assert self.planner.pool.num_available == free
        settle(self.planner, chunks)
        for stream in data.draw(st.sets(st.sampled_from(behind))) if behind else ():
            if stream.stream in self.planner.streams:
                self.planner.leave(stream.stream)
        settle(self.planner, behind)

    @precondition(lambda self: self.planner.streams)
    @rule(data=st.data(), is_poisoned=st.booleans())
    def leave(self, data, is_poisoned):
        streams = self.planner.streams
        stream = streams[data.draw(st.integers(0, len(streams) - 1))]
        self.planner.leave(stream, is_poisoned=is_poisoned)

    @invariant()
    def blocks_add_up_and_are_held_by_runners(self):
        pool, running = self.planner.pool, [s for s in self.planner.streams if s.is_running]
        assert pool.num_free + pool.num_cached + pool.num_used == pool.num_blocks
        assert pool.num_used == len({block for s in running for block in s.blocks})
        for stream in running:
            assert len(stream.blocks) * BLOCK_SIZE >= stream.num_computed
        assert all(not s.blocks for s in self.planner.waiting())

    @invariant()
    def quotas_are_kept(self):
        running = [s.tenant for s in self.planner.streams if s.is_running]
        assert len(running) <= 4
        assert all(running.count(tenant) <= 3 for tenant in "abc")

    def teardown(self):
        run_until_over(self.planner, self.planner.streams)
        assert self.planner.pool.num_used == 0


TestPlanner = PlannerMachine.TestCase
TestPlanner.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_running_answers_go_on_in_every_step_while_a_long_prompt_is_read():
    planner = make_planner(tokens=8)
    first = make_stream(4, 20)
    planner.enter(first)
    do_step(planner)
    planner.enter(make_stream(40, first=100))
    while any(s.num_left > 1 or not s.is_running for s in planner.streams):
        chunks = do_step(planner)
        assert chunks[0].stream is first
        assert chunks[0].count == 1
        assert sum(chunk.count for chunk in chunks) <= 8


def test_two_tenants_get_like_shares_whatever_they_send():
    planner, served = make_planner(num_blocks=200, running=3), {"many": 0, "few": 0}
    for index in range(40):
        planner.enter(make_stream(10, 10, tenant="many", first=1000 * index))
    for index in range(12):
        planner.enter(make_stream(10, 10, tenant="few", first=50_000 + 1000 * index))
    while planner.count_waiting_of("few"):
        for chunk in do_step(planner):
            served[chunk.stream.tenant] += chunk.count
        # Arithmetic of the paper's theorem 4.8: what may run at once, and a prompt in the line.
        assert abs(served["many"] - served["few"]) <= 2 * (3 * 20 + 10)


def test_a_newcomer_of_another_tenant_does_not_wait_behind_a_long_line():
    planner = make_planner(running=2)
    for index in range(20):
        planner.enter(make_stream(8, 4, tenant="many", first=1000 * index))
    for _ in range(6):
        do_step(planner)
    late = make_stream(8, 4, tenant="one", first=90_000)
    planner.enter(late)
    num_before = sum(s.tenant == "many" and not s.is_running for s in planner.streams)
    while not late.is_running:
        do_step(planner)
    num_after = sum(s.tenant == "many" and not s.is_running for s in planner.streams)
    assert num_before - num_after <= 1


def test_idling_saves_up_nothing():
    planner = make_planner(num_blocks=400, running=2)
    planner.enter(make_stream(4, 1, tenant="idle"))
    do_step(planner)
    for index in range(40):
        planner.enter(make_stream(8, 4, tenant="busy", first=1000 * (index + 1)))
    for _ in range(30):
        do_step(planner)
    for index in range(20):
        planner.enter(make_stream(8, 4, tenant="idle", first=900_000 + 1000 * index))
    counts = {"busy": 0, "idle": 0}
    for _ in range(20):
        for chunk in do_step(planner):
            counts[chunk.stream.tenant] += chunk.count
    assert abs(counts["busy"] - counts["idle"]) <= 3 * 12


def test_whoever_gave_up_its_blocks_is_next_and_is_charged_once():
    planner = make_planner(6, tokens=64, running=3, has_cache=False)
    old, young = make_stream(8, 16), make_stream(8, 8, first=100)
    planner.enter(old)
    planner.enter(young)
    while not young.num_preemptions:
        do_step(planner)
    planner.enter(make_stream(8, 8, first=200))
    served = []
    while planner.streams:
        served += [chunk.stream.place for chunk in do_step(planner)]
    assert served.index(young.place) < served.index(2)
    assert planner.num_preemptions >= 1
    assert old.num_preemptions == 0


def test_preempted_streams_end_with_the_tokens_they_would_have_had():
    rng = random.Random(3)
    planner = make_planner(9, tokens=10, running=4)
    streams = [make_stream(rng.randint(1, 16), rng.randint(1, 16), first=100 * n) for n in range(9)]
    wanted = [s.num_prompt_tokens + s.max_tokens - 1 for s in streams]
    for stream in streams:
        planner.enter(stream)
    run_until_over(planner, streams)
    assert planner.num_preemptions
    assert [len(stream.token_ids) for stream in streams] == wanted


def test_a_prefix_that_lies_ready_is_not_computed_again():
    planner = make_planner()
    planner.enter(make_stream(10, 1))
    do_step(planner)
    again = make_stream(10, 1)
    planner.enter(again)
    assert [(chunk.start, chunk.count) for chunk in planner.plan()] == [(8, 2)]
    assert again.num_cached == 8


@pytest.mark.parametrize(("tenant", "is_poisoned"), [("other", False), ("", True)])
def test_another_tenant_or_a_poisoned_request_leaves_nothing_to_find(tenant, is_poisoned):
    planner = make_planner()
    first = make_stream(10, 4)
    planner.enter(first)
    planner.mark_computed(planner.plan()[0])
    planner.leave(first, is_poisoned=is_poisoned)
    planner.enter(make_stream(10, 1, tenant=tenant))
    assert [(chunk.start, chunk.count) for chunk in planner.plan()] == [(0, 10)]


def test_what_can_never_fit_is_refused_at_the_door():
    planner = make_planner(4)
    with pytest.raises(ValueError, match="never fit"):
        planner.enter(make_stream(10, 7))
    with pytest.raises(ValueError, match="never fit"):
        planner.enter(make_stream(0))
    planner.enter(make_stream(10, 6))


def test_late_ones_are_listed():
    planner, stream = make_planner(), make_stream(3)
    stream.deadline = 5.0
    planner.enter(stream)
    assert planner.list_late(4.9) == []
    assert planner.list_late(5.0) == [stream]


def test_limits_that_would_starve_prompts_are_refused():
    with pytest.raises(ValueError, match="raise it"):
        PlanLimits(max_batch_tokens=8, max_running=8)
