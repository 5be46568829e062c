"""A model on two ranks gives what it gives on one: real processes, gloo between them."""

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from engine.errors import EngineError
from engine.serve.adapters import read_adapter
from engine.serve.decoder.families import read_model
from engine.serve.decoder.lora import read_lora
from engine.serve.decoder.operations import dequantize
from engine.serve.decoder.parallel import ParallelDecoder, follow
from engine.serve.decoder.sharding import Share
from engine.serve.decoder.torch_decoder import TorchDecoder
from engine.status import Reason
from tests.engine.serve.decoder.cases import Request, distance, draw_ids, run_step, save_case
from tests.engine.serve.decoder.test_lora import save_adapter
from tests.engine.serve.decoder.test_quantized import quantize

NAMES = ("llama", "mixtral", "internlm2")
POOL = {"num_blocks": 20, "block_size": 4, "max_adapters": 2}


def ask_everything(decoder, pairs):
    """Prompt, adapter, decode, copied block, embedding; return what came of all."""
    decoder.set_adapter(1, pairs)
    bare, adapted = Request(draw_ids(12), [0, 1, 2]), Request(draw_ids(12), [5, 4, 3], 1)
    found = run_step(decoder, [(bare, 9), (adapted, 7)])
    found += run_step(decoder, [(bare, 1), (adapted, 1)])
    decoder.drop_adapter(1)
    decoder.copy_block(2, 9)
    bare.blocks = [0, 1, 9]
    return [*found, *run_step(decoder, [(bare, 1)], embed=True)]


def run_rank(rank, store, folders, answers):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    group = dist.group.WORLD
    for name, (folder, adapter) in folders.items():
        shape, weights = read_model(folder, dtype=torch.float32, share=Share(rank, 2))
        local = TorchDecoder(shape, weights, group=group, **POOL)
        if rank:
            follow(local, group)
            continue
        whole, _ = read_model(folder, dtype=torch.float32)
        decoder = ParallelDecoder(local, group)
        try:
            found = ask_everything(decoder, read_lora(read_adapter(adapter), whole))
        finally:
            decoder.close()
        torch.save(found, answers / name)
    dist.destroy_process_group()


def test_two_ranks_give_the_logits_of_one(tmp_path):
    folders = {
        name: (save_case(tmp_path / name, name), save_adapter(tmp_path / f"a-{name}", name, seed=1))
        for name in NAMES
    }
    answers = tmp_path / "answers"
    answers.mkdir()
    mp.spawn(run_rank, (tmp_path / "store", folders, answers), nprocs=2)
    for name, (folder, adapter) in folders.items():
        shape, weights = read_model(folder, dtype=torch.float32)
        pairs = read_lora(read_adapter(adapter), shape)
        wanted = ask_everything(TorchDecoder(shape, weights, **POOL), pairs)
        for rows, alone in zip(torch.load(answers / name), wanted, strict=True):
            assert rows.shape == alone.shape
            assert distance(rows, alone) < 1e-5


def test_what_cannot_be_divided_is_said_before_anything_is_run(tmp_path):
    folder = save_case(tmp_path / "llama", "llama")
    for share, words in (
        (Share(0, 3), "num_heads of 4 cannot be divided among 3 devices"),
        (Share(0, 4), "num_kv_heads of 2 cannot be divided among 4 devices"),
    ):
        with pytest.raises(EngineError, match=words) as caught:
            read_model(folder, dtype=torch.float32, share=share)
        assert caught.value.reason == Reason.BAD_SPEC
    quantize(folder, "packed", group=32)
    with pytest.raises(EngineError, match="a group of 32 weights cannot be divided among 2"):
        read_model(folder, dtype=torch.float32, share=Share(1, 2))


@pytest.mark.parametrize("kind", ["awq", "w8a8"])
def test_quantized_shares_make_up_the_whole(tmp_path, kind):
    folder = save_case(tmp_path / "internlm2", "internlm2")
    quantize(folder, kind)
    _, whole = read_model(folder, dtype=torch.float32)
    parts = [read_model(folder, dtype=torch.float32, share=Share(n, 2))[1] for n in range(2)]
    for name, dim in (("query", 0), ("output", 1)):
        shares = [dequantize(getattr(part.layers[1], name), torch.float32) for part in parts]
        wanted = dequantize(getattr(whole.layers[1], name), torch.float32)
        assert torch.equal(torch.cat(shares, dim=dim), wanted)
    assert parts[0].layers[1].output.bias is not None
    assert parts[1].layers[1].output.bias is None
