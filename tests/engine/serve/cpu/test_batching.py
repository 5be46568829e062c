"""A request's numbers are its own, bit for bit: whatever shares the batch, wherever it is cut."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.serve.cpu.made import (
    SHAPES,
    Request,
    draw_tokens,
    make_adapter,
    make_batch,
    run_alone,
)

TOKENS = draw_tokens(75)
CASES = [
    ("llama", "float32"),
    ("gemma3_text", "bfloat16"),
    ("mixtral", "int8"),
    ("qwen3", "int4_g32_zeros"),
]


@pytest.mark.parametrize("family, kind", CASES)
@pytest.mark.parametrize("chunks", [(1,) * 40, (16, 32), (5, 1, 59), (64,)])
def test_a_prompt_may_be_cut_anywhere(open_made, family, kind, chunks):
    decoder = open_made(family, kind)
    whole = run_alone(decoder, TOKENS, range(5))
    assert torch.equal(run_alone(decoder, TOKENS, range(20, 25), chunks=chunks), whole)


@pytest.mark.parametrize("family, kind", CASES)
def test_blocks_may_lie_anywhere_and_threads_be_any_number(open_made, family, kind):
    whole = run_alone(open_made(family, kind), TOKENS, range(5))
    for num_threads in (2, 3):
        decoder = open_made(family, kind, num_threads=num_threads)
        assert torch.equal(run_alone(decoder, TOKENS, (40, 2, 33, 0, 17)), whole)


@pytest.mark.parametrize("kv_bits", [16, 8, 4])
def test_larger_blocks_hold_the_same(open_made, kv_bits):
    options = {"kv_bits": kv_bits, "kv_keeps_sinks": False}
    whole = run_alone(open_made("llama", "bfloat16", **options), TOKENS, range(5))
    decoder = open_made("llama", "bfloat16", block_size=32, **options)
    assert torch.equal(run_alone(decoder, TOKENS, (9, 30, 4)), whole)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_neighbours_change_nothing(open_made, data):
    """Requests of random lengths come, are cut at random and share steps until all are through."""
    case = data.draw(st.integers(0, len(CASES) - 1))
    family, kind = CASES[case]
    decoder = open_made(family, kind, num_threads=data.draw(st.integers(1, 2)))
    has_experts = SHAPES[family].num_experts > 0
    parts = ("query", "output") if has_experts else ("key", "gate", "down")
    for slot in range(3):
        decoder.set_adapter(slot, make_adapter(SHAPES[family], seed=slot, parts=parts))
    spare = data.draw(st.permutations(range(48)))
    requests = []
    for index in range(data.draw(st.integers(1, 5))):
        length = data.draw(st.integers(1, 70))
        blocks, spare = spare[: (length + 15) // 16], spare[(length + 15) // 16 :]
        adapter = data.draw(st.integers(-1, 2))
        requests.append(Request(draw_tokens(length, seed=index), list(blocks), adapter))
    found: list[list[torch.Tensor]] = [[] for _ in requests]
    while waiting := [i for i, each in enumerate(requests) if each.done < len(each.tokens)]:
        chosen = data.draw(st.lists(st.sampled_from(waiting), min_size=1, unique=True))
        sizes = [
            data.draw(st.integers(1, len(requests[i].tokens) - requests[i].done)) for i in chosen
        ]
        logits = decoder.forward(
            make_batch([(requests[i], size) for i, size in zip(chosen, sizes, strict=True)])
        )
        for i, part in zip(chosen, logits.split(sizes), strict=True):
            found[i].append(part)
    for request, parts_found in zip(requests, found, strict=True):
        alone = run_alone(decoder, request.tokens, request.blocks, adapter=request.adapter)
        assert torch.equal(torch.cat(parts_found), alone)


def test_long_prompts_are_the_same_in_strips(open_made):
    """More rows than go through a feed-forward together, with an adapter across the seam."""
    decoder = open_made("llama", "bfloat16", num_threads=2)
    decoder.set_adapter(1, make_adapter(SHAPES["llama"], seed=1, parts=("up", "down")))
    tokens = draw_tokens(290)
    first, second = (Request(tokens, list(range(at, at + 19)), 1) for at in (0, 19))
    batch = make_batch([(first, 150), (second, 290)])
    found = decoder.forward(batch)
    alone = run_alone(decoder, tokens, range(20, 39), adapter=1, chunks=(31, 100))
    assert torch.equal(found[:150], alone[:150])
    assert torch.equal(found[150:], alone)


def test_what_a_block_held_before_is_never_seen(open_made):
    """Even what is not a number: zero times it would not be zero."""
    decoder = open_made()
    expected = run_alone(decoder, TOKENS, range(5))
    poison = make_adapter(SHAPES["llama"], seed=0, parts=("key", "value"))
    for pair in poison.values():
        pair.b_OR.fill_(torch.nan)
    decoder.set_adapter(0, poison)
    assert run_alone(decoder, TOKENS, range(5), adapter=0).isnan().any()
    assert torch.equal(run_alone(decoder, TOKENS, range(5), chunks=(3, 14)), expected)


def test_a_request_that_is_not_a_number_ends_alone(open_made):
    decoder = open_made("llama", "int8")
    poison = make_adapter(SHAPES["llama"], seed=0, parts=("query", "up"))
    for pair in poison.values():
        pair.b_OR.fill_(torch.nan)
    decoder.set_adapter(0, poison)
    alone = run_alone(decoder, TOKENS, range(5))
    sick, well = Request(TOKENS, list(range(10, 15)), 0), Request(TOKENS, list(range(20, 25)))
    found = decoder.forward(make_batch([(sick, 75), (well, 75)]))
    assert torch.equal(found[75:], alone)
    assert found[:75].isnan().any()
