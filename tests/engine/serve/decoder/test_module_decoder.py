"""Models that no reader knows: the numbers and answers of transformers, from a pool of blocks."""

import random

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    FalconH1Config,
    Gemma2Config,
    GPT2Config,
    MambaConfig,
    OPTConfig,
    Phi3Config,
    PhiConfig,
    Qwen3NextConfig,
    T5Config,
    T5ForConditionalGeneration,
)

from engine.errors import EngineError
from engine.models.tiny import make_family, make_tokenizer
from engine.serve.adapters import read_adapter
from engine.serve.backend import ChatRequest
from engine.serve.decoder import module_shape
from engine.serve.decoder.lora import read_module_lora
from engine.serve.decoder.module_decoder import ModuleDecoder
from engine.serve.decoder.module_shape import open_module
from tests.engine.serve.decoder.cases import BLOCK, VOCAB, Request, distance, draw_ids, run_step
from tests.engine.serve.test_native import generate
from tests.engine.serve.tiny_models import GREEDY, HELLO, Reader, open_backend

CLOSE = 1e-5
LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64}
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
OWN = ("baichuan-7b", "baichuan-13b", "chatglm")
CASES = {
    "gpt2": (GPT2Config, {"n_layer": 2, "n_head": 4, "n_embd": 64, "n_positions": 256}),
    "opt": (OPTConfig, {**LAYERS, "ffn_dim": 96, "word_embed_proj_dim": 64}),
    "phi": (PhiConfig, {**LAYERS, "intermediate_size": 96, "num_key_value_heads": 2}),
    "phi3-window": (
        Phi3Config,
        {**LAYERS, "intermediate_size": 96, "num_key_value_heads": 2, "sliding_window": 6},
    ),
    "gemma2": (
        Gemma2Config,
        {**LAYERS, "intermediate_size": 96, "num_key_value_heads": 2, "head_dim": 16}
        | {"sliding_window": 6, "attn_logit_softcapping": 0.5, "query_pre_attn_scalar": 1},
    ),
    "bloom": (BloomConfig, {"n_layer": 2, "n_head": 4, "hidden_size": 64}),
}


def make_case(name, *, vocab=VOCAB):
    if name in OWN:
        return make_family(name, vocab_size=vocab, pad_token_id=0)
    config, given = CASES[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings = {**IDS, "vocab_size": vocab, "initializer_range": 0.2, **given}
        made = AutoModelForCausalLM.from_config(config(**settings), attn_implementation="eager")
        return made.float().eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of any case, made once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = tmp_path_factory.mktemp("modules") / name
            make_case(name).save_pretrained(made[name])
        return made[name]

    return get


def open_decoder(folder):
    model, shape = open_module(folder, precision="fp32", device=torch.device("cpu"))
    return ModuleDecoder(model, shape, num_blocks=40, block_size=BLOCK), model


def save_adapter(path, model, targets, *, rank=4):
    torch.manual_seed(rank)
    peft = get_peft_model(model, LoraConfig(r=rank, lora_alpha=6, target_modules=targets))
    for key, parameter in peft.named_parameters():
        if "lora_B" in key:
            parameter.data.normal_(0, 0.3)
    peft.save_pretrained(path)
    return path


def run_alone(model, ids):
    with torch.inference_mode():
        return model(torch.tensor([ids])).logits[0]


@pytest.mark.parametrize("name", [*OWN, *CASES])
def test_company_cuts_and_places_change_nothing(folder, name):
    decoder, _ = open_decoder(folder(name))
    for pool in decoder._pools:  # what others left is never seen
        pool.keys.values.fill_(float("nan"))
        pool.values.values.fill_(float("nan"))
    rng = random.Random(1)
    places = rng.sample(range(40), 14)
    requests = [
        Request(draw_ids(count, seed=count), places[7 * at : 7 * at + 7])
        for at, count in enumerate((26, 17))
    ]
    seen = [[] for _ in requests]
    for counts in ((9, 1), (1, 5), (8, 11)):
        found = run_step(decoder, list(zip(requests, counts, strict=True)))
        for rows, part in zip(seen, found, strict=True):
            rows.append(part)
    seen[0] += run_step(decoder, [(requests[0], 8)])
    for rows, request in zip(seen, requests, strict=True):
        assert distance(torch.cat(rows), run_alone(make_case(name), request.ids)) < CLOSE


@pytest.mark.parametrize("name", ["gpt2", "baichuan-13b"])
def test_a_copied_block_and_embeddings(folder, name):
    decoder, model = open_decoder(folder(name))
    ids = draw_ids(11)
    request, copied = Request(ids, [0, 1, 2]), Request(ids, [0, 20, 2])
    run_step(decoder, [(request, 10)])
    decoder.copy_block(1, 20)
    copied.num_done = 10
    (hidden,) = run_step(decoder, [(copied, 1)], embed=True)
    (logits,) = run_step(decoder, [(request, 1)])
    assert distance(model.get_output_embeddings()(hidden), logits) < CLOSE


@pytest.mark.parametrize(
    ("name", "targets"),
    [("gpt2", ["c_attn", "mlp.c_proj"]), ("chatglm", ["query_key_value", "dense_4h_to_h"])],
)
def test_an_adapter_changes_its_own_request_only(folder, tmp_path, name, targets):
    decoder, model = open_decoder(folder(name))
    for slot, rank in ((3, 4), (0, 2)):
        path = save_adapter(tmp_path / f"{slot}", make_case(name), targets, rank=rank)
        decoder.set_adapter(slot, read_module_lora(read_adapter(path), model))
    ids, slots = draw_ids(9), (3, -1, 0)
    requests = [Request(ids, [3 * n, 3 * n + 1, 3 * n + 2], slot) for n, slot in enumerate(slots)]
    parts = [run_step(decoder, [(request, count) for request in requests]) for count in (8, 1)]
    found = [torch.cat(rows) for rows in zip(*parts, strict=True)]
    for rows, slot in zip(found, slots, strict=True):
        wanted = make_case(name)
        if slot >= 0:
            wanted = PeftModel.from_pretrained(wanted, tmp_path / f"{slot}")
        assert distance(rows, run_alone(wanted, ids)) < CLOSE
    assert distance(found[0], found[1]) > 0.05 < distance(found[2], found[1])
    decoder.drop_adapter(3)
    (bare,) = run_step(decoder, [(Request(ids, [0, 1, 2]), 9)])
    assert distance(bare, found[1]) < CLOSE


def test_an_adapter_of_another_base_is_refused(folder, tmp_path):
    path = save_adapter(tmp_path / "a", make_case("chatglm"), ["query_key_value"])
    _, model = open_decoder(folder("gpt2"))
    with pytest.raises(EngineError, match="no linear layer named query_key_value"):
        read_module_lora(read_adapter(path), model)


@pytest.mark.parametrize(
    ("name", "target"),
    [("baichuan-7b", "W_pack"), ("chatglm", "query_key_value"), ("gpt2", "c_attn")],
)
def test_it_answers_as_transformers_does(tmp_path, capsys, name, target):
    tokenizer = make_tokenizer()
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    make_case(name, vocab=len(tokenizer)).save_pretrained(base)
    tokenizer.save_pretrained(base)
    save_adapter(adapter, make_case(name, vocab=len(tokenizer)), [target])
    wanted = [generate(base, HELLO, GREEDY.max_tokens, each) for each in (None, adapter)]
    assert wanted[0] != wanted[1]
    with open_backend(base, max_batch_tokens=8, max_running=2, adapters=(str(adapter),)) as backend:
        readers = [(Reader(), str(each)) for each in (base, adapter)]
        for reader, model in readers:
            request = ChatRequest(model=model, messages=HELLO, sampling=GREEDY)
            backend.submit(request, reader.pieces.put)
        assert [reader.read_all()[0] for reader, _ in readers] == wanted
    assert "is served by transformers' module" in capsys.readouterr().err


def test_the_pool_is_sized_by_what_the_module_keeps(folder):
    # 2 layers, keys and values, heads x width, 4 bytes; ALiBi is 8 numbers wide (decision 036)
    kept = {"gpt2": 4 * 16, "chatglm": 2 * 16, "baichuan-13b": 6 * (16 + 8)}
    for name, numbers in kept.items():
        _, shape = open_module(folder(name), precision="fp32", device=torch.device("cpu"))
        assert shape.kv_bytes_per_token == 2 * 2 * numbers * 4
    make_tokenizer().save_pretrained(folder("gpt2"))
    with open_backend(folder("gpt2"), kv_memory_bytes=2**20) as backend:
        assert backend.describe().num_blocks == 2**20 // (16 * 2 * 2 * 4 * 16 * 4)


def test_rope_that_turns_by_length_is_served_up_to_there(tmp_path):
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 32}
    factors = {"short_factor": [1.0] * 8, "long_factor": [2.0] * 8}
    settings = {**IDS, **CASES["phi3-window"][1], "vocab_size": VOCAB}
    config = Phi3Config(
        **settings,
        max_position_embeddings=128,
        original_max_position_embeddings=32,
        rope_parameters={**rope, **factors},
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    _, shape = open_module(tmp_path, precision="fp32", device=torch.device("cpu"))
    assert shape.max_positions == 32


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            MambaConfig(num_hidden_layers=2, hidden_size=32, vocab_size=VOCAB),
            "'mamba' models do not rem",
        ),
        (FalconH1Config(num_hidden_layers=2, hidden_size=32), "'falcon_h1' models do not remember"),
        (
            Qwen3NextConfig(num_hidden_layers=4, hidden_size=32),
            "'qwen3_next' models do not remember",
        ),
    ],
)
def test_what_remembers_otherwise_is_refused(tmp_path, config, words):
    if config.model_type == "mamba":  # only the model itself tells
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    config.save_pretrained(tmp_path)
    with pytest.raises(EngineError, match=words) as caught:
        open_decoder(tmp_path)
    assert caught.value.message.count(".") == 1


@pytest.mark.parametrize(
    "asked", [{"kv_precision": "int8"}, {"is_batch_invariant": True}], ids=lambda asked: min(asked)
)
def test_what_a_module_cannot_give_is_refused(tmp_path, asked):
    make_case("gpt2").save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with (
        pytest.raises(EngineError, match=f"^{min(asked)}: .* for llama"),
        open_backend(tmp_path, **asked),
    ):
        pass


def test_a_module_that_remembers_beside_its_cache_is_refused(tmp_path, monkeypatch):
    model, seen = make_case("gpt2"), []

    def add_last(module, inputs, out):  # what the pass before ended with, kept in the module
        seen.append(out[:, -1:])
        return out + seen[-2] if len(seen) > 1 else out

    model.transformer.wte.register_forward_hook(add_last)
    monkeypatch.setattr(module_shape, "load_base", lambda *args, **options: model)
    make_case("gpt2").save_pretrained(tmp_path)
    with pytest.raises(EngineError, match="'gpt2' models do not remember"):
        open_decoder(tmp_path)


def test_what_writes_no_text_or_is_quantized_is_refused(tmp_path, folder):
    config = T5Config(num_layers=1, d_model=16, d_ff=16, num_heads=2, vocab_size=VOCAB)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    with pytest.raises(EngineError, match="'t5' models are no decoders"):
        open_decoder(tmp_path)
    config = GPT2Config(n_layer=1, quantization_config={"quant_method": "awq", "bits": 4})
    config.save_pretrained(tmp_path)
    with pytest.raises(EngineError, match="it is quantized, and 'gpt2' models are served in fl"):
        open_decoder(tmp_path)
