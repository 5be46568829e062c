"""What is no batch or no model is refused in words before anything is read or written."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from engine.serve.cpu import CpuOptions, open_cpu_decoder
from engine.serve.decoder.shape import LayerShape
from engine.serve.decoder.step import StepBatch
from tests.engine.serve.cpu.made import (
    SHAPES,
    Request,
    draw_tokens,
    make_batch,
    make_weights,
    run_alone,
)

TOKENS = draw_tokens(40)


def make_good() -> StepBatch:
    first, second = Request(TOKENS, [4, 7, 2]), Request(TOKENS, [9])
    return make_batch([(first, 40), (second, 3)])


def ints(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int32)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"token_ids_N": ints([99] + [0] * 42)}, r"token_ids_N\[0\] is 99, and the vocabulary"),
        ({"token_ids_N": ints([-1] + [0] * 42)}, r"token_ids_N\[0\] is -1"),
        ({"token_ids_N": torch.zeros(43)}, "token_ids_N is torch.float32 on cpu, not int32"),
        ({"positions_N": torch.zeros(43, dtype=torch.int64)}, "positions_N is torch.int64"),
        ({"positions_N": ints([0] * 42)}, r"positions_N is of shape \(42,\), not 43"),
        ({"positions_N": ints([0] * 43)}, r"positions_N\[1\] is 0, and 1 follows"),
        ({"query_starts_S1": ints([0, 40, 44])}, "out of order"),
        ({"query_starts_S1": ints([0, -3, 43])}, "out of order"),
        ({"query_starts_S1": ints([0, 43, 43])}, "request 1 has no token"),
        ({"query_starts_S1": ints([1, 40, 43])}, r"query_starts_S1\[0\] is 1, not 0"),
        ({"query_starts_S1": ints([0, 40, 42])}, "does not end at the number of tokens"),
        ({"context_lengths_S": ints([40, 600])}, "at most 512 positions"),
        ({"context_lengths_S": ints([39, 3])}, r"context_lengths_S\[0\] is 39"),
        ({"context_lengths_S": ints([2**31 - 1, 3])}, "at most 512 positions"),
        ({"block_tables_SB": ints([[4, 7, 48], [9, -1, -1]])}, "blocks are 0 to 47"),
        ({"block_tables_SB": ints([[4, -1, 2], [9, -1, -1]])}, r"is -1 at column 1"),
        ({"block_tables_SB": ints([[4, 7], [9, -1]])}, "has 2 columns, and request 0 needs 3"),
        ({"block_tables_SB": ints([[4, 7, 9], [9, -1, -1]])}, "block 9 would be written from two"),
        ({"block_tables_SB": ints([4, 7, 2])}, "block_tables_SB is of shape"),
        ({"logits_rows_R": ints([43])}, r"logits_rows_R\[0\] is 43, and there are 43 tokens"),
        ({"logits_rows_R": ints([-1])}, r"logits_rows_R\[0\] is -1"),
        ({"adapters_S": ints([-1, 0])}, r"adapters_S\[1\] is 0, and no adapter"),
        ({"adapters_S": ints([-2, -1])}, r"adapters_S\[0\] is -2"),
        ({"adapters_S": ints([2**30, -1])}, r"adapters_S\[0\]"),
    ],
)
def test_a_batch_that_is_none_is_refused_and_nothing_is_written(open_made, changes, said):
    decoder = open_made()
    expected = decoder.forward(make_good())
    with pytest.raises(ValueError, match=said):
        decoder.forward(replace(make_good(), **changes))
    with pytest.raises(ValueError, match=said):
        decoder.embed(replace(make_good(), **changes))
    follow = Request(TOKENS + TOKENS[:1], [4, 7, 2], done=40)
    after = decoder.forward(make_batch([(follow, 1)]))
    assert torch.equal(after[0], run_alone(decoder, follow.tokens, [11, 12, 13])[-1])
    assert torch.equal(decoder.forward(make_good()), expected)


def test_an_empty_batch_is_refused(open_made):
    empty = StepBatch(*(ints([]),) * 2, ints([0]), ints([]), torch.empty(0, 1, dtype=torch.int32),
                      ints([]), ints([]))  # fmt: skip
    with pytest.raises(ValueError, match="holds no token"):
        open_made().forward(empty)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"num_blocks": 0}, "num_blocks is 0"),
        ({"block_size": 24}, "block_size is 24 and must be a multiple of 16"),
        ({"num_threads": 0}, "num_threads is 0"),
        ({"max_adapters": -1}, "max_adapters is -1"),
        ({"options": CpuOptions(kv_bits=5)}, "kv_bits is 5"),  # type: ignore[arg-type]
        ({"options": CpuOptions(head_bits=3)}, "head_bits is 3"),  # type: ignore[arg-type]
        ({"options": CpuOptions(kv_kept_layers=-1)}, "kv_kept_layers is -1"),
        ({"num_blocks": 2**31 - 1}, "would take [0-9.]+ GiB and this machine has"),
    ],
)
def test_an_argument_out_of_range_is_refused(changes, said):
    arguments = {"num_blocks": 4, "num_threads": 1, "max_adapters": 0, **changes}
    shape = SHAPES["llama"]
    with pytest.raises((ValueError, MemoryError), match=said):
        open_cpu_decoder(shape, make_weights(shape), **arguments)


def test_weights_that_do_not_fit_the_shape_are_refused():
    shape = SHAPES["llama"]
    weights = make_weights(shape, "int4_g32")
    layer = weights.layers[0]
    query = layer.query
    for changed, said in (
        (replace(query, weight=query.weight[:-1]), r"layers\[0\].query is 95 x 64"),
        (replace(query, weight=query.weight.char()), "int4 and holds torch.int8"),
        (replace(query, weight=query.weight[0]), "query has 1 dimensions"),
        (replace(query, scale=None), "query.scale is missing"),
        (replace(query, scale=torch.ones(96, 0)), r"query.scale is \(96, 0\)"),
        (replace(query, scale=torch.ones(96, 3)), r"query.scale is \(96, 3\)"),
        (replace(query, scale=torch.ones(96, 16)), "multiple of 8"),
        (replace(query, zero=torch.zeros(96, 1, dtype=torch.uint8)), "query.zero must be uint8"),
        (replace(query, bias=torch.ones(3)), "query.bias must have 96"),
    ):
        broken = replace(weights, layers=(replace(layer, query=changed), *weights.layers[1:]))
        with pytest.raises(ValueError, match=said):
            open_cpu_decoder(shape, broken, num_blocks=4, num_threads=1, max_adapters=0)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"num_kv_heads": 4}, "num_heads is 6 and must be 1 to 48 times"),
        ({"layers": (LayerShape(),)}, "1 layers and the weights 2"),
        ({"layers": (LayerShape(1), LayerShape())}, r"rope_index is 1; there are 1 ropes"),
        ({"layers": (LayerShape(0, 0), LayerShape())}, "window is 0"),
        ({"vocab_size": 98}, r"embedding is \(99, 64\)"),
        ({"has_query_key_norm": True}, r"layers\[0\].query_norm is missing"),
        ({"head_dim": 8}, "turns 16 numbers of a head, which has 8|query is 96 x 64"),
        ({"num_experts": 2, "num_experts_per_token": 3}, "num_experts_per_token is 3 of 2"),
        ({"num_experts": 2, "num_experts_per_token": 1}, "must have a router and 2 experts"),
    ],
)
def test_a_shape_that_does_not_fit_its_weights_is_refused(changes, said):
    weights = make_weights(SHAPES["llama"])
    with pytest.raises(ValueError, match=said):
        open_cpu_decoder(
            replace(SHAPES["llama"], **changes),
            weights,
            num_blocks=4,
            num_threads=1,
            max_adapters=0,
        )


def test_a_block_that_is_not_there_is_not_copied(open_made):
    decoder = open_made()
    for source, target in ((0, 48), (-1, 0)):
        with pytest.raises(ValueError, match="blocks are 0 to 47"):
            decoder.copy_block(source, target)
    with pytest.raises(ValueError, match="slot is 4; there are 4 adapter slots"):
        decoder.set_adapter(4, {})


def test_a_closed_decoder_says_so(open_made):
    decoder = open_made()
    decoder.close()
    decoder.close()
    for call in (
        lambda: decoder.forward(make_good()),
        lambda: decoder.copy_block(0, 1),
        lambda: decoder.set_adapter(0, {}),
    ):
        with pytest.raises(ValueError, match="the decoder is closed"):
            call()
