"""The torch decoder gives transformers' numbers, whatever shares the batch and wherever blocks lie.

Tolerances are relative to the largest logit, in float32.
"""

import random

import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.serve.decoder.families import read_model
from engine.serve.decoder.torch_decoder import TorchDecoder
from tests.engine.serve.decoder.cases import (
    BLOCK,
    CASES,
    Request,
    distance,
    draw_ids,
    make_case,
    run_step,
    save_case,
)

CLOSE = 1e-5


def open_decoder(folder, **options):
    shape, weights = read_model(folder, dtype=torch.float32)
    return TorchDecoder(
        shape, weights, **{"num_blocks": 40, "block_size": BLOCK, "max_adapters": 4, **options}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of any case, made once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = save_case(tmp_path_factory.mktemp("cases") / name, name)
        return made[name]

    return get


def run_alone(name, ids):
    with torch.inference_mode():
        return make_case(name)(torch.tensor([ids])).logits[0]


@pytest.mark.parametrize("name", CASES)
def test_logits_are_those_of_transformers(folder, name):
    ids = draw_ids(30)
    decoder = open_decoder(folder(name))
    (whole,) = run_step(decoder, [(Request(ids, [7, 3, 9, 1, 0, 2, 30, 31]), 30)])
    assert distance(whole, run_alone(name, ids)) < CLOSE


@pytest.mark.parametrize("name", ["gemma3", "mixtral", "internlm2", "qwen2-window"])
@pytest.mark.parametrize("kind", ["plain", "invariant"])
def test_company_cuts_and_places_change_nothing(folder, name, kind):
    decoder = open_decoder(folder(name), is_batch_invariant=kind == "invariant")
    texts = [draw_ids(count, seed=count) for count in (5, 17, 26)]
    alone = []
    for ids in texts:
        (rows,) = run_step(decoder, [(Request(ids, list(range(7))), len(ids))])
        alone.append(rows)
    rng = random.Random(1)
    places = rng.sample(range(40), 21)
    requests = [Request(ids, places[7 * at : 7 * at + 7]) for at, ids in enumerate(texts)]
    seen = [[] for _ in requests]
    while any(request.num_done < len(request.ids) for request in requests):
        turns = []
        for at, request in enumerate(requests):
            left = len(request.ids) - request.num_done
            if left and rng.random() < 0.7:
                turns.append((at, request, min(left, rng.choice((1, 1, 3, 8)))))
        if turns:
            rng.shuffle(turns)
            found = run_step(decoder, [(request, count) for _, request, count in turns])
            for (at, _, _), rows in zip(turns, found, strict=True):
                seen[at].append(rows)
    for rows, wanted in zip(seen, alone, strict=True):
        if kind == "invariant":
            assert torch.equal(torch.cat(rows), wanted)
        else:
            assert distance(torch.cat(rows), wanted) < CLOSE


def test_what_others_left_in_a_block_is_never_seen(folder):
    for is_invariant in (False, True):
        decoder = open_decoder(folder("mistral"), is_batch_invariant=is_invariant)
        clean = open_decoder(folder("mistral"), is_batch_invariant=is_invariant)
        for pool in decoder._pools:
            pool.keys.values.fill_(float("nan"))
            pool.values.values.fill_(float("inf"))
        for each in (decoder, clean):
            each.requests = [Request(draw_ids(20), [3, 1, 5, 2, 8]), Request(draw_ids(3), [9])]
            each.seen = [
                run_step(each, [(request, count) for request in each.requests]) for count in (2, 1)
            ]
        for found, wanted in zip(decoder.seen, clean.seen, strict=True):
            assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize("count", [1, 3])
def test_a_window_reads_no_block_that_lies_before_it(folder, count):
    found = []
    for is_damaged in (False, True):
        decoder = open_decoder(folder("mistral"))
        request = Request(draw_ids(24), list(range(6)))
        run_step(decoder, [(request, 20)])
        if is_damaged:
            for pool in decoder._pools:
                pool.keys.values[:3] = pool.values.values[:3] = float("nan")
        found.append(run_step(decoder, [(request, count)])[0])
    assert torch.equal(*found)


def test_a_copied_block_is_as_good_as_the_first(folder):
    decoder = open_decoder(folder("qwen3"))
    ids = draw_ids(11)
    request = Request(ids, [0, 1, 2])
    run_step(decoder, [(request, 10)])
    decoder.copy_block(1, 20)
    copied = Request(ids, [0, 20, 2])
    copied.num_done = 10
    assert torch.equal(*(run_step(decoder, [(r, 1)])[0] for r in (request, copied)))


def test_embeddings_are_the_last_hidden_states(folder):
    decoder, ids = open_decoder(folder("llama")), draw_ids(9)
    (rows,) = run_step(decoder, [(Request(ids, [0, 1, 2]), 9)], embed=True)
    with torch.inference_mode():
        out = make_case("llama").model(torch.tensor([ids])).last_hidden_state[0]
    assert distance(rows, out) < CLOSE


@pytest.mark.parametrize(("bits", "bound"), [(8, 0.03), (4, 0.35)])
def test_quantized_keys_and_values_stay_near(folder, bits, bound):
    ids = draw_ids(30)
    exact, coarse = (open_decoder(folder("llama"), kv_bits=each) for each in (16, bits))
    found = {}
    for decoder in (exact, coarse):
        request = Request(ids, list(range(8)))
        found[decoder] = torch.cat([run_step(decoder, [(request, n)])[0] for n in (20, 1, 9)])
    error = (found[coarse] - found[exact]).norm() / found[exact].norm()
    assert 0 < error < bound


@pytest.mark.parametrize("name", ["gemma3", "mixtral", "internlm2"])
def test_half_the_width_stays_near(folder, name):
    ids, found = draw_ids(20), []
    for dtype in (torch.float32, torch.bfloat16):
        shape, weights = read_model(folder(name), dtype=dtype)
        decoder = TorchDecoder(shape, weights, num_blocks=8, block_size=BLOCK, dtype=dtype)
        request = Request(ids, list(range(6)))
        found.append(torch.cat([run_step(decoder, [(request, n)])[0] for n in (12, 1, 7)]))
    assert found[1].dtype == torch.float32
    assert (found[1] - found[0]).norm() / found[0].norm() < 0.05


@pytest.mark.slow
def test_the_real_model_gives_the_logits_of_transformers(smollm2):
    decoder = open_decoder(smollm2, block_size=16)
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    ids = torch.randint(0, 49152, (90,), generator=torch.Generator().manual_seed(0)).tolist()
    request = Request(ids, [4, 0, 2, 1, 9, 5])
    found = torch.cat([run_step(decoder, [(request, n)])[0] for n in (60, 1, 29)])
    with torch.inference_mode():
        wanted = model(torch.tensor([ids])).logits[0]
    assert distance(found, wanted) < 1e-4
