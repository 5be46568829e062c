"""Adapters by request: the numbers of a plain model with the same update, and of no other."""

import pytest
import torch

from engine.serve.decoder.step import LoraPair
from tests.engine.serve.cpu.made import (
    SHAPES,
    Request,
    draw_tokens,
    make_adapter,
    make_batch,
    make_weights,
    run_alone,
)
from tests.engine.serve.cpu.reference import Reference
from tests.engine.serve.cpu.test_decoder import measure_error

ALL = ("query", "key", "value", "output", "gate", "up", "down")
TOKENS = draw_tokens(60)


@pytest.mark.parametrize("kind, bound", [("float32", 5e-6), ("bfloat16", 8e-3), ("int8", 0.025)])
@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_every_part_takes_an_update(open_made, family, kind, bound):
    shape = SHAPES[family]
    reference = Reference(shape, make_weights(shape, kind))
    decoder = open_made(family, kind)
    base = reference.logits(TOKENS)
    for part in ALL:
        pairs = make_adapter(shape, seed=3, parts=[part], rank=7)
        decoder.set_adapter(2, pairs)
        expected = reference.logits(TOKENS, pairs)
        assert measure_error(base, expected) > 2 * bound
        found = run_alone(decoder, TOKENS, range(4), adapter=2, chunks=(11,))
        assert measure_error(found, expected) < bound


def test_one_step_mixes_adapters_and_the_bare_base(open_made):
    shape = SHAPES["llama"]
    decoder = open_made(max_adapters=40, num_threads=2)
    reference = Reference(shape, make_weights(shape))
    adapters = {
        slot: make_adapter(shape, seed=slot, rank=1 + slot, parts=ALL) for slot in (0, 7, 39)
    }
    for slot, pairs in adapters.items():
        decoder.set_adapter(slot, pairs)
    slots = [39, -1, 7, 0, 7]
    lengths = [5, 20, 9, 1, 12]
    batch = make_batch(
        [
            (Request(TOKENS[:length], [3 * i, 3 * i + 1], slot), length)
            for i, (slot, length) in enumerate(zip(slots, lengths, strict=True))
        ]
    )
    for slot, length, found in zip(
        slots, lengths, decoder.forward(batch).split(lengths), strict=True
    ):
        expected = reference.logits(TOKENS[:length], adapters.get(slot))
        assert measure_error(found, expected) < 5e-6


def test_a_slot_can_be_filled_anew_and_emptied(open_made):
    decoder = open_made()
    base = run_alone(decoder, TOKENS, range(4))
    decoder.set_adapter(0, make_adapter(SHAPES["llama"], seed=1))
    first = run_alone(decoder, TOKENS, range(4), adapter=0)
    decoder.set_adapter(0, make_adapter(SHAPES["llama"], seed=2))
    assert not torch.equal(run_alone(decoder, TOKENS, range(4), adapter=0), first)
    decoder.set_adapter(0, {})
    assert torch.equal(run_alone(decoder, TOKENS, range(4), adapter=0), base)
    decoder.drop_adapter(0)
    with pytest.raises(ValueError, match=r"adapters_S\[0\] is 0, and no adapter is in that slot"):
        run_alone(decoder, TOKENS, range(4), adapter=0)


@pytest.mark.parametrize(
    "key, a, b, said",
    [
        ((2, "query"), (4, 64), (96, 4), "query of layer 2, which is not there"),
        ((0, "router"), (4, 64), (96, 4), "router of layer 0, which is not there"),
        ((0, "query"), (4, 63), (96, 4), r"\(rank, 64\) and \(96, rank\) fit"),
        ((0, "query"), (4, 64), (96, 3), r"\(rank, 64\) and \(96, rank\) fit"),
        ((0, "query"), (0, 64), (96, 0), r"\(rank, 64\) and \(96, rank\) fit"),
    ],
)
def test_an_update_that_does_not_fit_is_refused(open_made, key, a, b, said):
    with pytest.raises(ValueError, match=said):
        open_made().set_adapter(0, {key: LoraPair(torch.zeros(a), torch.zeros(b))})


def test_experts_take_no_updates(open_made):
    pairs = make_adapter(SHAPES["mixtral"], seed=0, parts=["up"])
    with pytest.raises(ValueError, match="updates up, and experts take no adapters"):
        open_made("mixtral").set_adapter(0, pairs)
