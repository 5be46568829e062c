"""The Triton kernels against plain torch, run by Triton's interpreter (`tests/conftest.py`).

This shows that their arithmetic is right; that a GPU's compiler takes them shows without a GPU too.
"""

import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton")

from engine.serve.adapters import read_adapter  # noqa: E402
from engine.serve.decoder.attention import Attending, DecodeGroup  # noqa: E402
from engine.serve.decoder.families import read_model  # noqa: E402
from engine.serve.decoder.lora import read_lora  # noqa: E402
from engine.serve.decoder.operations import apply_linear, rms_norm  # noqa: E402
from engine.serve.decoder.packing import pack_pairs  # noqa: E402
from engine.serve.decoder.pool import PoolShape  # noqa: E402
from engine.serve.decoder.torch_decoder import TorchDecoder  # noqa: E402
from engine.serve.decoder.triton.attention import attend_decode  # noqa: E402
from engine.serve.decoder.triton.matmul import can_multiply, multiply_int4  # noqa: E402
from engine.serve.decoder.triton.norm import add_and_norm  # noqa: E402
from engine.serve.decoder.weights import LinearWeights  # noqa: E402
from tests.engine.serve.decoder.cases import (  # noqa: E402
    Request,
    distance,
    draw_ids,
    run_step,
    save_case,
)
from tests.engine.serve.decoder.test_lora import save_adapter  # noqa: E402
from tests.engine.serve.decoder.test_quantized import quantize  # noqa: E402

BLOCK, HEADS, KV_HEADS, WIDTH = 16, 6, 2, 24


@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("kind", ["dense", "int8", "int4"])
def test_split_attention_is_attention(kind, window):
    torch.manual_seed(0)
    pool = PoolShape(20, BLOCK, KV_HEADS, WIDTH).make(kind, torch.float32, torch.device("cpu"))
    every = torch.arange(20 * BLOCK)
    for half in (pool.keys, pool.values):
        half.write(every, torch.randn(len(every), KV_HEADS, WIDTH))
    lengths = torch.tensor([1, 33, 150, 160])
    tables = torch.stack([torch.randperm(20)[:10] for _ in lengths])
    query = torch.randn(len(lengths), HEADS, WIDTH)
    how = Attending(KV_HEADS, 0.3, window)
    wanted = DecodeGroup(torch.arange(4), tables, lengths, BLOCK).attend(query, pool, how)
    for parts in (1, 3):
        found = attend_decode(query, pool, tables.int(), lengths.int(), how, num_parts=parts)
        assert torch.allclose(found, wanted, atol=1e-5)


def test_a_row_of_nobody_gives_zeros():
    pool = PoolShape(2, BLOCK, KV_HEADS, WIDTH).make("dense", torch.float32, torch.device("cpu"))
    for half in (pool.keys, pool.values):
        half.values.fill_(float("nan"))
    found = attend_decode(
        torch.ones(1, HEADS, WIDTH),
        pool,
        torch.zeros(1, 2, dtype=torch.int32),
        torch.zeros(1, dtype=torch.int32),
        Attending(KV_HEADS, 1.0, None),
    )
    assert torch.equal(found, torch.zeros(1, HEADS, WIDTH))


@pytest.mark.parametrize("has_more", [False, True])
@pytest.mark.parametrize(("rows", "group"), [(1, 32), (19, 96)])
def test_four_bit_products_are_those_of_the_widened_weights(rows, group, has_more):
    torch.manual_seed(0)
    outputs, inputs = 70, 192
    codes = torch.randint(0, 16, (outputs, inputs), dtype=torch.uint8)
    linear = LinearWeights(
        "int4",
        pack_pairs(codes),
        scale=torch.rand(outputs, inputs // group),
        zero=torch.randint(0, 16, (outputs, inputs // group), dtype=torch.uint8)
        if has_more
        else None,
        bias=torch.randn(outputs) if has_more else None,
    )
    values = torch.randn(rows, inputs)
    wanted = apply_linear(values, linear)
    assert torch.allclose(multiply_int4(values, linear), wanted, rtol=1e-4, atol=1e-3)


def test_odd_groups_are_left_to_torch():
    linear = LinearWeights("int4", torch.zeros(4, 20, dtype=torch.uint8), torch.ones(4, 5))
    assert not can_multiply(linear)
    with pytest.raises(ValueError, match="groups of 8"):
        multiply_int4(torch.ones(1, 40), linear)


def test_the_fused_norm_adds_first():
    torch.manual_seed(0)
    hidden, added, weight = torch.randn(5, 48), torch.randn(5, 48), torch.randn(48)
    total, normed = add_and_norm(hidden, added, weight, 1e-6)
    assert torch.equal(total, hidden + added)
    assert torch.allclose(normed, rms_norm(hidden + added, weight, 1e-6), atol=1e-6)
    same, normed = add_and_norm(hidden, None, weight, 1e-6)
    assert same is hidden
    assert torch.allclose(normed, rms_norm(hidden, weight, 1e-6), atol=1e-6)


@pytest.mark.parametrize(("name", "kv_bits"), [("gemma3", 16), ("mixtral", 8), ("int4", 4)])
def test_a_whole_step_is_that_of_torch(tmp_path, name, kv_bits):
    """Decodes go the way of graphs, filled up to a size, but the mixture's; chunks do not."""
    if name == "int4":
        quantize(save_case(tmp_path / name, "llama", num_hidden_layers=1), "packed-asym", group=32)
    else:
        save_case(tmp_path / name, name)
        for slot in (0, 1):
            save_adapter(tmp_path / f"{slot}", name, seed=slot)
    found = {}
    for kernels in ("torch", "triton"):
        decoder = TorchDecoder(
            *read_model(tmp_path / name, dtype=torch.float32),
            num_blocks=24,
            block_size=4,
            max_adapters=3,
            kv_bits=kv_bits,
            kernels=kernels,
        )
        found[kernels] = torch.cat(run_steps(decoder, tmp_path, has_adapters=name != "int4"))
        captured = decoder._graphs._captured if decoder._graphs else {}
        assert bool(captured) == (kernels == "triton" and name != "mixtral")
    assert distance(found["triton"], found["torch"]) < 1e-4


def test_the_compiler_takes_every_kernel_and_multiplies_by_tensor_cores(tmp_path):
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    found = subprocess.run(
        [sys.executable, "-m", "tests.engine.serve.decoder.compile_kernels"],
        env=environment | {"TRITON_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    products = {"dense: mma", "int8: mma", "int4: mma", "int4 product: mma"}
    assert {*found} == {*products, "join: no mma", "norm: no mma"}


def run_steps(decoder, adapters, *, has_adapters):
    """Prompts, then decodes of all, of some, and with adapters that come and go."""
    requests = [Request(draw_ids(24), list(range(8 * n, 8 * n + 8)), -1) for n in range(3)]
    rows = run_step(decoder, list(zip(requests, (15, 7, 1), strict=True)))
    rows += run_step(decoder, [(request, 1) for request in requests])
    for request in requests:
        request.num_done -= 1
    again = run_step(decoder, [(request, 1) for request in requests], is_unread=True)
    assert all(map(torch.equal, again, rows[-3:]))
    if not has_adapters:
        return rows
    for slot in (0, 1):
        pairs = read_lora(read_adapter(adapters / f"{slot}"), decoder._shape)
        decoder.set_adapter(slot, pairs)
        requests[slot].adapter = slot
        rows += run_step(decoder, [(request, 1) for request in requests])
    decoder.drop_adapter(0)
    requests[0].adapter = -1
    return [*rows, *run_step(decoder, [(request, 1) for request in requests[:2]])]
