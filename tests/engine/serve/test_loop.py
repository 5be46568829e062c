"""The step loop with a decoder that has no model: each answer is the one it would be alone."""

import random
import threading
import time

import pytest
import torch

from engine.serve.backend import QueueFull, Sampling, ServerClosing, WaitTooLong
from engine.serve.constraints import Matcher
from tests.engine.serve.fake_decoder import (
    BAD_ID,
    DEADLINE_S,
    NAN_ID,
    FakeDecoder,
    ask,
    decode,
    make_adapter,
    make_text_ticket,
    make_ticket,
    open_loop,
)
from tests.live import wait_for

LONG = Sampling(max_tokens=40, temperature=0)
LENGTH = Sampling(max_tokens=3, temperature=0, logit_bias=((0, -100.0),))  # never ends by itself
HOT = Sampling(max_tokens=20, temperature=1.3, top_p=0.9, top_k=60, seed=11)


@pytest.fixture(autouse=True, params=[False, True], ids=["", "ahead"])
def goes_ahead(request, monkeypatch):
    """All of it is so whether or not a step is asked for before the last one's tokens are read."""
    monkeypatch.setattr(FakeDecoder, "goes_ahead", request.param)
    return request.param


def make_prompts(count: int, *, seed=0, longest=30) -> list[list[int]]:
    rng = random.Random(seed)
    return [[rng.randint(1, 90) for _ in range(rng.randint(1, longest))] for _ in range(count)]


def ask_alone(prompts, sampling=LONG, *, slots=None) -> list[str]:
    """What each is answered by a server that has nothing else to do and remembers nothing."""
    slots = slots or [-1] * len(prompts)
    with open_loop(has_cache=False, max_batch_tokens=1000, max_running=1) as loop:
        load_adapters(loop)
        return [
            ask(loop, prompt, sampling, slot=slot)
            for prompt, slot in zip(prompts, slots, strict=True)
        ]


def load_adapters(loop) -> None:
    for slot in range(3):
        adapter = make_adapter(100 + slot)
        loop.between_steps(lambda decoder, a=adapter, s=slot: decoder.set_adapter(s, a))


def enter_all(loop, prompts, sampling=LONG, *, slots=None, **options) -> list:
    entered = []
    for index, prompt in enumerate(prompts):
        slot = slots[index] if slots else -1
        ticket, answer = make_ticket(
            prompt, sampling, slot=slot, adapter=bytes([slot + 1]), **options
        )
        loop.enter(ticket)
        entered.append((ticket, answer))
    return entered


@pytest.mark.parametrize("sampling", [LONG, HOT], ids=["greedy", "hot"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_batch_tokens": 9},  # prompts in pieces of at most 9
        {"max_batch_tokens": 5, "max_running": 2},
        {"num_blocks": 26, "max_running": 6},  # too few for six: preemption
        {"has_cache": False, "num_blocks": 26, "max_running": 6},
        {"block_size": 1, "num_blocks": 256},
    ],
    ids=["plain", "pieces", "few", "preempted", "uncached", "tiny-blocks"],
)
def test_every_batch_chunk_prefix_preemption_and_adapter_mix_gives_the_tokens_alone(
    options, sampling
):
    prompts = make_prompts(12)
    prompts += [[*prompts[0][:9], 5], [*prompts[0][:9], 6], prompts[0]]  # shared beginnings
    slots = [index % 4 - 1 for index in range(12)] + [-1, -1, -1]
    alone = ask_alone(prompts, sampling, slots=slots)
    with open_loop(**options) as loop:
        load_adapters(loop)
        entered = enter_all(loop, prompts * 2, sampling, slots=slots * 2)
        assert [answer.read()[0] for _, answer in entered] == alone * 2
        if "num_blocks" in options and options["num_blocks"] < 30:
            assert loop.planner.num_preemptions
        if options.get("has_cache", True):
            assert loop.counts.num_cached_tokens


def test_a_prefix_hit_saves_computing_and_changes_nothing():
    prompt = list(range(1, 30))
    with open_loop(max_batch_tokens=100) as loop:
        first = ask(loop, prompt)
        ticket, answer = make_ticket(prompt)
        loop.enter(ticket)
        text, last = answer.read()
        assert text == first
        assert last.usage.num_cached_tokens == 28
        assert loop.decoder.batches[0] == [29]
        assert [1] in loop.decoder.batches
        assert 29 not in [count for batch in loop.decoder.batches[1:] for count in batch]


def test_two_tenants_or_adapters_never_share_a_prefix_hit():
    prompt = list(range(1, 30))
    with open_loop(max_batch_tokens=100) as loop:
        load_adapters(loop)
        cached = []
        for options in (
            {"tenant": "a"},
            {"tenant": "b"},
            {"tenant": "a", "slot": 0, "adapter": b"red"},
            {"tenant": "a", "slot": 1, "adapter": b"blue"},
            {"tenant": "b"},
        ):
            ticket, answer = make_ticket(prompt, **options)
            loop.enter(ticket)
            cached.append(answer.read()[1].usage.num_cached_tokens)
    assert cached == [0, 0, 0, 0, 28]


def test_a_prompt_that_another_tenant_sent_takes_as_long_as_one_that_nobody_did():
    prompt, fresh = list(range(1, 30)), list(range(31, 60))
    took = []
    for asked in (fresh, prompt, prompt):
        clock = Clock()
        decoder = SlowDecoder(clock)
        with open_loop(decoder, max_batch_tokens=9, clock=clock) as loop:
            ask(loop, prompt, LENGTH, tenant="a")
            decoder.batches.clear()
            ticket, answer = make_ticket(asked, LENGTH, tenant="a" if len(took) == 2 else "b")
            before = clock.now
            loop.enter(ticket)
            last = answer.read()[1]
            took.append((decoder.batches[:], clock.now - before, last.usage.prefill_s))
    assert took[0] == took[1] == ([[9], [9], [9], [2], [1], [1]], 6.0, 4.0)
    assert len(took[2][0]) < 6  # its own tenant's is found again


def test_an_adapter_that_comes_and_goes_does_not_stop_the_others():
    alone = ask_alone([[1, 2, 3]])[0]
    with open_loop() as loop:
        ticket, answer = make_ticket([1, 2, 3], LONG)
        loop.enter(ticket)
        for salt in range(5):
            adapter = make_adapter(salt)
            loop.between_steps(lambda decoder, a=adapter: decoder.set_adapter(2, a))
            loop.between_steps(lambda decoder: decoder.drop_adapter(2))
        assert answer.read()[0] == alone


def test_work_between_steps_hands_back_its_result_and_its_error():
    with open_loop() as loop:
        assert loop.between_steps(lambda decoder: 3) == 3
        with pytest.raises(ZeroDivisionError):
            loop.between_steps(lambda decoder: 1 // 0)
        assert loop.is_healthy()


class BadMatcher(Matcher):
    """A constraint that fails where told."""

    def __init__(self, where: str) -> None:
        self._where = where

    @property
    def is_complete(self) -> bool:
        return False

    def take(self, token_id: int) -> None:
        if self._where == "take":
            raise ValueError("as told")

    def write_mask(self, bits_RW, row: int) -> None:
        if self._where == "mask":
            raise ValueError("as told")
        bits_RW[row] = 0 if self._where == "nothing" else -1


class HeldMatcher(BadMatcher):
    """Its masks are held up."""

    def __init__(self) -> None:
        super().__init__("nowhere")
        self.gate, self.is_entered = threading.Event(), threading.Event()

    def write_mask(self, bits_RW, row: int) -> None:
        self.is_entered.set()
        assert self.gate.wait(DEADLINE_S)
        super().write_mask(bits_RW, row)


def test_a_mask_is_written_beside_the_pass_and_neither_holds_up_the_other():
    (alone,) = ask_alone([[1, 2]], LENGTH)
    matcher = HeldMatcher()
    with open_loop() as loop:
        loop.decoder.gate.clear()
        ticket, answer = make_ticket([1, 2], LENGTH, matcher=matcher)
        loop.enter(ticket)
        assert loop.decoder.is_entered.wait(DEADLINE_S)
        assert matcher.is_entered.wait(DEADLINE_S)  # while the pass goes on
        loop.decoder.gate.set()
        wait_for("the pass to end before the mask", lambda: loop.decoder.batches == [[2]])
        matcher.gate.set()
        assert answer.read()[0] == alone


def raise_in_reader(piece):
    raise RuntimeError("as told")


POISONS = {
    "pass": {"prompt": [1, BAD_ID, 2]},
    "logits": {"prompt": [1, NAN_ID, 2]},
    "reader": {"prompt": [1, 2], "on_piece": raise_in_reader},
    "take": {"prompt": [1, 2], "matcher": BadMatcher("take")},
    "mask": {"prompt": [1, 2], "matcher": BadMatcher("mask")},
    "nothing": {"prompt": [1, 2], "matcher": BadMatcher("nothing")},
}


@pytest.mark.parametrize("poison", POISONS)
def test_a_poisoned_request_ends_alone(poison):
    prompts = make_prompts(5)
    alone = ask_alone(prompts)
    with open_loop() as loop:
        loop.decoder.gate.clear()
        good = enter_all(loop, prompts[:3])
        ticket, bad = make_ticket(**{"sampling": LONG, **POISONS[poison]})
        loop.enter(ticket)
        good += enter_all(loop, prompts[3:])
        loop.decoder.gate.set()
        assert [answer.read()[0] for _, answer in good] == alone
        if poison != "reader":
            last = bad.read()[1]
            assert (last.finish, last.message[:16]) == ("error", "The model failed")
        assert bad.ended.wait(DEADLINE_S)
        assert loop.is_healthy()
        assert loop.counts.num_failed == 1


def test_an_abort_ends_an_answer_within_a_step_and_frees_its_blocks():
    with open_loop() as loop:
        ticket, answer = make_ticket([1, 2, 3], Sampling(max_tokens=200, temperature=0))
        loop.decoder.gate.clear()
        loop.enter(ticket)
        assert loop.decoder.is_entered.wait(DEADLINE_S)
        loop.release(ticket)
        loop.decoder.gate.set()
        assert answer.read()[1].finish == "abort"
        assert answer.ended.wait(DEADLINE_S)
        assert loop.count_now()[:3] == (0, 0, 0)
        assert len(loop.decoder.batches) == 1
        loop.release(ticket)  # again: nothing


def test_one_more_than_may_wait_is_refused_and_an_abort_makes_room():
    with open_loop(max_running=1, max_waiting=2) as loop:
        loop.decoder.gate.clear()
        enter_all(loop, [[1]])
        assert loop.decoder.is_entered.wait(DEADLINE_S)
        waiting = enter_all(loop, [[2], [3]])
        with pytest.raises(QueueFull) as refusal:
            loop.enter(make_ticket([4])[0])
        assert refusal.value.retry_after_s >= 1
        loop.release(waiting[0][0])
        assert waiting[0][1].read()[1].finish == "abort"
        loop.enter(make_ticket([4])[0])


def test_a_tenants_quota_leaves_room_for_the_others():
    with open_loop(max_running=1, max_waiting_of_tenant=1) as loop:
        loop.decoder.gate.clear()
        enter_all(loop, [[1]], tenant="a")
        assert loop.decoder.is_entered.wait(DEADLINE_S)
        enter_all(loop, [[2]], tenant="a")
        with pytest.raises(QueueFull, match="1 requests are waiting"):
            enter_all(loop, [[3]], tenant="a")
        enter_all(loop, [[4]], tenant="b")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_deadline_that_passes_ends_a_request_that_waits_and_one_that_runs():
    clock = Clock()
    with open_loop(max_running=1, clock=clock) as loop:
        loop.decoder.gate.clear()
        entered = [make_ticket([n + 1], Sampling(max_tokens=100, temperature=0)) for n in range(2)]
        for ticket, _ in entered:
            loop.enter(ticket, deadline_s=5)
        assert loop.decoder.is_entered.wait(DEADLINE_S)
        clock.now += 6
        loop.decoder.gate.set()
        for _, answer in entered:
            last = answer.read()[1]
            assert last.finish == "abort"
            assert "deadline" in last.message


class SlowDecoder(FakeDecoder):
    """Each step takes a second of an injected clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def forward(self, batch):
        logits = super().forward(batch)
        self.clock.now += 1
        return logits


def test_what_cannot_be_met_is_refused_with_the_measured_wait():
    clock = Clock()
    decoder = SlowDecoder(clock)
    with open_loop(decoder, max_running=1, clock=clock) as loop:
        ask(loop, [1, 2, 3], LONG)  # measures: about a token a second
        decoder.is_entered.clear()
        decoder.gate.clear()
        enter_all(loop, [[1]], LONG)
        assert decoder.is_entered.wait(DEADLINE_S)
        enter_all(loop, [[2]], LONG)
        with pytest.raises(WaitTooLong, match="after its deadline of 10.0 s") as refusal:
            loop.enter(make_ticket([3])[0], deadline_s=10)
        assert 20 <= refusal.value.retry_after_s <= 200
        loop.enter(make_ticket([3])[0], deadline_s=1000)


def test_the_watchdog_sees_a_step_that_does_not_end():
    clock = Clock()
    with open_loop(clock=clock) as loop:
        assert loop.measure_age_s() == 0
        loop.decoder.gate.clear()
        enter_all(loop, [[1]])
        assert loop.decoder.is_entered.wait(DEADLINE_S)
        clock.now += 200
        assert loop.measure_age_s() == 200
        assert loop.is_healthy()  # its threads live: failed is another thing than hung
        loop.decoder.gate.set()


def test_closing_drains_for_a_while_and_refuses_what_comes():
    alone = ask_alone([[1, 2]])[0]
    with open_loop() as loop:
        ((_, answer),) = enter_all(loop, [[1, 2]])
        loop.close(drain_s=DEADLINE_S)
        text, last = answer.read()
        assert (text, last.finish) == (alone, "length")
        with pytest.raises(ServerClosing):
            loop.enter(make_ticket([1])[0])
        with pytest.raises(ServerClosing):
            loop.between_steps(lambda decoder: None)


def test_closing_without_time_aborts_what_is_under_way():
    with open_loop() as loop:
        loop.decoder.gate.clear()
        entered = enter_all(loop, [[1], [2]], Sampling(max_tokens=200))
        closing = threading.Thread(target=loop.close)
        closing.start()
        loop.decoder.gate.set()
        closing.join(DEADLINE_S)
        assert [answer.read()[1].finish for _, answer in entered] == ["abort"] * 2


def test_a_stop_text_across_tokens_ends_the_answer_before_it():
    whole = ask_alone([[7]])[0]
    stop = whole[10:13]
    with open_loop() as loop:
        ticket, answer = make_ticket([7], Sampling(max_tokens=40, temperature=0, stop=(stop,)))
        loop.enter(ticket)
        text, last = answer.read()
        assert text == whole[: whole.find(stop)]
        assert (last.finish, last.num_tokens) == ("stop", whole.find(stop) + 3)
        assert answer.ended.wait(DEADLINE_S)


def test_logprobs_and_usage_come_with_the_pieces():
    with open_loop() as loop:
        ticket, answer = make_ticket(
            [1, 2, 3], Sampling(max_tokens=5, temperature=0, num_logprobs=3)
        )
        loop.enter(ticket)
        pieces = [answer.pieces.get(timeout=DEADLINE_S) for _ in range(5)]
    for piece in pieces:
        (logprob,) = piece.logprobs
        assert logprob.token == piece.text == decode([logprob.token_id])
        assert logprob.top[0][0] == logprob.token_id
        assert len(logprob.top) == 3
    usage = pieces[-1].usage
    assert (usage.num_prompt_tokens, usage.num_tokens) == (3, 5)
    assert min(usage.queue_s, usage.prefill_s, usage.decode_s) >= 0


def test_the_shares_of_all_answers_add_up_to_the_time_that_was_busy():
    clock = Clock()
    with open_loop(SlowDecoder(clock), max_batch_tokens=9, clock=clock) as loop:
        entered = enter_all(loop, make_prompts(5, seed=3), LONG)
        usages = [answer.read()[1].usage for _, answer in entered]
        busy_s = loop.counts.busy_s
    assert busy_s > 10
    shares = sum(usage.prefill_s + usage.decode_s for usage in usages)
    assert shares == pytest.approx(busy_s)
    assert all(usage.prefill_s > 0 and usage.decode_s > 0 for usage in usages)


def test_texts_are_embedded_beside_answers_as_if_alone():
    prompts = make_prompts(4, longest=60)
    alone = ask_alone(prompts)
    with open_loop(has_cache=False, max_running=1, max_batch_tokens=1000) as loop:
        tickets = [make_text_ticket(prompt) for prompt in prompts]
        for ticket in tickets:
            loop.enter(ticket)
        wanted = [ticket.outcome.result(DEADLINE_S) for ticket in tickets]
    with open_loop(max_batch_tokens=9) as loop:
        entered = enter_all(loop, prompts)
        tickets = [make_text_ticket(prompt) for prompt in prompts]
        for ticket in tickets:
            loop.enter(ticket)
        for ticket, vector in zip(tickets, wanted, strict=True):
            assert torch.allclose(ticket.outcome.result(DEADLINE_S), vector, atol=1e-5)
        assert [answer.read()[0] for _, answer in entered] == alone


def test_a_storm_leaves_the_survivors_as_they_were_and_nothing_behind():
    """Bursts over the limit, a pool too small, poison, and readers who leave at any time."""
    rng = random.Random(7)
    prompts = make_prompts(25, seed=5, longest=24)
    slots = [index % 4 - 1 for index in range(25)]
    sampling = Sampling(max_tokens=16, temperature=0)
    alone = ask_alone(prompts, sampling, slots=slots)
    with open_loop(num_blocks=24, max_running=8, max_waiting=40, max_batch_tokens=24) as loop:
        load_adapters(loop)
        entered, num_refused, index = [], 0, 0
        while index < 500:
            is_bad = rng.random() < 0.04
            which = rng.randrange(25)
            prompt = [3, rng.choice([BAD_ID, NAN_ID])] if is_bad else prompts[which]
            slot = slots[which]
            ticket, answer = make_ticket(
                prompt, sampling, slot=slot, adapter=bytes([slot + 1]), tenant=str(index % 3)
            )
            try:
                loop.enter(ticket)
            except QueueFull:
                num_refused += 1
                time.sleep(0.002)
                continue
            leaves = rng.random() < 0.3
            entered.append((which, is_bad, leaves, ticket, answer))
            if leaves:
                threading.Timer(rng.random() * 0.05, loop.release, [ticket]).start()
            index += 1
        num_whole = 0
        for which, is_bad, leaves, _, answer in entered:
            text, last = answer.read()
            assert answer.ended.wait(DEADLINE_S)
            if last.finish == "abort":
                assert leaves
            elif is_bad:
                assert last.finish == "error"
            else:
                assert text == alone[which]
                num_whole += 1
        assert num_whole > 250
        assert num_refused
        assert loop.planner.num_preemptions
        assert loop.is_healthy()
        assert loop.count_now()[:3] == (0, 0, 0)
        assert not loop._tickets and not loop._released and not loop._writer._texts
