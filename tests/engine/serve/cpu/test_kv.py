"""Keys and values in fewer bits, blocks held in full, and blocks copied."""

import pytest
import torch

from engine.serve.cpu import CpuOptions, count_block_bytes
from tests.engine.serve.cpu.made import SHAPES, Request, draw_tokens, make_batch, run_alone
from tests.engine.serve.cpu.test_decoder import measure_error

TOKENS = draw_tokens(100)
BLOCKS = list(range(3, 10))


@pytest.mark.parametrize("kv_bits, bound", [(8, 0.012), (4, 0.12)])
def test_the_error_of_few_bits_is_bounded_and_shrinks_with_what_is_kept(open_made, kv_bits, bound):
    exact = run_alone(open_made("llama", "float32"), TOKENS, BLOCKS)

    def error(**options) -> float:
        decoder = open_made("llama", "float32", kv_bits=kv_bits, **options)
        return measure_error(run_alone(decoder, TOKENS, BLOCKS), exact)

    plain = error(kv_keeps_sinks=False)
    sinks = error()
    layer = error(kv_keeps_sinks=False, kv_kept_layers=1)
    everything = error(kv_kept_layers=2)
    assert everything < sinks < plain < bound
    assert everything < layer < plain


def test_the_first_block_is_held_in_full(open_made):
    """Sixteen positions are all of a short request: nothing of it is rounded to four bits."""
    full = run_alone(open_made("llama", "bfloat16"), TOKENS[:16], [5])
    kept = open_made("llama", "bfloat16", kv_bits=4)
    assert torch.equal(run_alone(kept, TOKENS[:16], [5]), full)
    assert not torch.equal(run_alone(kept, TOKENS[:17], [5, 6])[:17][16], full[15])
    rounded = open_made("llama", "bfloat16", kv_bits=4, kv_keeps_sinks=False)
    assert not torch.equal(run_alone(rounded, TOKENS[:16], [5]), full)


@pytest.mark.parametrize("kv_bits", [8, 4])
@pytest.mark.parametrize("family", ["gemma3_text", "internlm2"])
def test_few_bits_are_the_same_bits_however_a_prompt_is_cut(open_made, kv_bits, family):
    decoder = open_made(family, "bfloat16", kv_bits=kv_bits, kv_kept_layers=1, num_threads=2)
    whole = run_alone(decoder, TOKENS, BLOCKS)
    assert torch.equal(run_alone(decoder, TOKENS, BLOCKS[::-1], chunks=(1, 30, 1, 1, 17)), whole)


@pytest.mark.parametrize("kv_bits", [16, 4])
def test_a_copied_block_serves_as_the_one_it_was_copied_from(open_made, kv_bits):
    decoder = open_made("llama", "bfloat16", kv_bits=kv_bits)
    whole = run_alone(decoder, TOKENS, BLOCKS)
    start = Request(TOKENS, BLOCKS)
    decoder.forward(make_batch([(start, 40)]))
    for source, target in zip(BLOCKS[:3], (30, 31, 32), strict=True):
        decoder.copy_block(source, target)
    run_alone(decoder, draw_tokens(48, seed=9), BLOCKS[:3])  # the originals are gone
    branch = Request(TOKENS, [30, 31, 32, *BLOCKS[3:]], done=40)
    found = decoder.forward(make_batch([(branch, 60)]))
    assert torch.equal(found, whole[40:])


def test_a_block_that_was_first_may_be_later_and_the_other_way_round(open_made):
    decoder = open_made("llama", "bfloat16", kv_bits=4)
    whole = run_alone(decoder, TOKENS, BLOCKS)
    for _ in range(2):
        assert torch.equal(run_alone(decoder, TOKENS, BLOCKS[::-1]), whole)
        assert torch.equal(run_alone(decoder, TOKENS, BLOCKS), whole)


def test_fewer_bits_take_less_memory():
    shape = SHAPES["internlm2"]  # heads of 24, held as 32
    full = count_block_bytes(shape, 32, CpuOptions())
    assert full == 2 * 2 * (2 * 32 * 16 * 2)  # layers, cells; keys and values
    assert count_block_bytes(shape, 32, CpuOptions(kv_bits=8)) < 0.6 * full
    assert count_block_bytes(shape, 32, CpuOptions(kv_bits=4)) < 0.35 * full
    assert count_block_bytes(shape, 32, CpuOptions(kv_bits=4, kv_kept_layers=9)) == full
