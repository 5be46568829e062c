"""Adapters in the decoder: the numbers of peft, several in one batch, and none half loaded."""

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from engine.errors import EngineError
from engine.serve.adapters import read_adapter
from engine.serve.decoder.families import read_model
from engine.serve.decoder.lora import read_lora
from engine.serve.decoder.torch_decoder import TorchDecoder
from tests.engine.serve.decoder.cases import (
    Request,
    distance,
    draw_ids,
    make_case,
    run_step,
    save_case,
)

LLAMA = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
CASES = {
    "llama": {"target_modules": LLAMA, "use_rslora": True},
    "gemma3": {
        "target_modules": LLAMA,
        "rank_pattern": {"layers.1.mlp.up_proj": 3},
        "alpha_pattern": {"down_proj": 3},
    },
    "gemma3-whole": {
        "target_modules": [*LLAMA, "out_proj", "fc1"],  # those of what it sees with too
        "rank_pattern": {"model.language_model.layers.1.mlp.up_proj": 3},
        "alpha_pattern": {"language_model.layers.0.mlp.down_proj": 3},
    },
    "mixtral": {"target_modules": ["q_proj", "o_proj"]},
    "internlm2": {"target_modules": ["wqkv", "wo", "w1", "w2", "w3"]},
}


def save_adapter(folder, name, *, seed, rank=4, **options):
    config = LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=6, **{**CASES[name], **options})
    torch.manual_seed(seed)
    model = get_peft_model(make_case(name), config)
    for key, parameter in model.named_parameters():
        if "lora_B" in key:
            parameter.data.normal_(0, 0.3)
    model.save_pretrained(folder)
    return folder


def run_peft(name, folder, ids):
    model = make_case(name)
    if folder is not None:
        model = PeftModel.from_pretrained(model, folder)
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0]


@pytest.mark.parametrize("is_invariant", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_each_request_of_a_batch_has_its_own_adapter(tmp_path, name, is_invariant):
    shape, weights = read_model(save_case(tmp_path / "base", name), dtype=torch.float32)
    decoder = TorchDecoder(
        shape,
        weights,
        num_blocks=40,
        block_size=4,
        max_adapters=6,
        is_batch_invariant=is_invariant,
    )
    folders = {
        slot: save_adapter(tmp_path / f"{slot}", name, seed=slot, rank=slot) for slot in (5, 2)
    }
    for slot, folder in folders.items():
        decoder.set_adapter(slot, read_lora(read_adapter(folder), shape))
    ids = draw_ids(24)
    slots = (-1, 5, 2, 5)
    wanted = {slot: run_peft(name, folders.get(slot), ids) for slot in set(slots)}
    assert distance(wanted[5], wanted[2]) > 0.1
    requests = [Request(ids, list(range(6 * n, 6 * n + 6)), slot) for n, slot in enumerate(slots)]
    seen = []
    for count in (20, 1, 1, 2):  # a long batch, short ones, and one in between
        done = requests[0].num_done
        found = run_step(decoder, [(request, count) for request in requests])
        for rows, slot in zip(found, slots, strict=True):
            assert distance(rows, wanted[slot][done : done + count]) < 1e-5
        seen.append(found)
    if is_invariant:  # alone, in other blocks and in one go, to the bit
        for at, slot in enumerate(slots):
            (alone,) = run_step(decoder, [(Request(ids, list(range(30, 36)), slot), 24)])
            assert torch.equal(torch.cat([found[at] for found in seen]), alone)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = save_case(tmp_path_factory.mktemp("base") / "base", "llama")
    return read_model(folder, dtype=torch.float32)


def test_a_dropped_slot_is_the_bare_base_again(tmp_path, base):
    decoder = TorchDecoder(*base, num_blocks=8, block_size=4, max_adapters=2)
    ids = draw_ids(8)

    def run(slot):
        return run_step(decoder, [(Request(ids, [0, 1], slot), 8)])[0]

    bare = run(-1)
    for slot in (0, 1):
        files = read_adapter(save_adapter(tmp_path / f"{slot}", "llama", seed=slot))
        decoder.set_adapter(slot, read_lora(files, base[0]))
    one, zero = run(1), run(0)
    decoder.drop_adapter(0)
    decoder.drop_adapter(0)
    assert torch.equal(run(-1), bare)
    assert torch.equal(run(1), one)
    decoder.set_adapter(1, read_lora(read_adapter(tmp_path / "0"), base[0]))
    assert torch.equal(run(1), zero)
    with pytest.raises(ValueError, match="slot 2"):
        decoder.set_adapter(2, {})


def damage_config(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def damage_weights(folder, change):
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: damage_config(f, target_modules=["q_proj", "wq"]), "no linear layer named wq"),
        (lambda f: damage_config(f, target_modules=["lm_head"]), "no linear layer named lm_head"),
        (lambda f: damage_config(f, r=8), "trained on another base"),
        (lambda f: damage_weights(f, lambda w: w.pop(FIRST)), f"no weight {FIRST}"),
        (
            lambda f: damage_weights(f, lambda w: w.update({"other": torch.ones(1)})),
            "an unknown weight other",
        ),
        (
            lambda f: damage_weights(f, lambda w: w.update({FIRST: torch.ones(4, 65)})),
            "another base",
        ),
        (
            lambda f: damage_weights(f, lambda w: w.update({FIRST: w[FIRST].to(torch.int8)})),
            "torch.int8",
        ),
    ],
)
def test_what_does_not_fit_the_base_is_refused_whole(tmp_path, base, change, words):
    folder = save_adapter(tmp_path / "a", "llama", seed=0)
    change(folder)
    with pytest.raises(EngineError, match=words) as caught:
        read_lora(read_adapter(folder), base[0])
    assert caught.value.message.startswith("The adapter cannot be used: ")
