"""The models as files, as generators, packed, cut in pieces and under checkpointing."""

import json

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from engine.data.batch import collate
from engine.data.render import IGNORED, Rendered
from engine.errors import EngineError
from engine.models.alibi import add_positions, make_slopes
from engine.models.baichuan import BaichuanConfig
from engine.models.chatglm import ChatGLMConfig
from engine.models.decoder import head_weight
from engine.models.load import load_base
from engine.models.shards import get_sharding, join_shards, slice_shard
from engine.models.tiny import FAMILIES, make_family, make_model, save_family
from engine.status import Reason
from engine.train.attention import PACKED

CPU = torch.device("cpu")
LAYOUTS = {
    "internlm2": (
        ["model.tok_embeddings.weight", "model.norm.weight", "output.weight"],
        "model.layers.",
        [
            "attention.wqkv.weight",
            "attention.wo.weight",
            "attention_norm.weight",
            "feed_forward.w1.weight",
            "feed_forward.w2.weight",
            "feed_forward.w3.weight",
            "ffn_norm.weight",
        ],
    ),
    "baichuan-7b": (
        ["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"],
        "model.layers.",
        [
            "input_layernorm.weight",
            "mlp.down_proj.weight",
            "mlp.gate_proj.weight",
            "mlp.up_proj.weight",
            "post_attention_layernorm.weight",
            "self_attn.W_pack.weight",
            "self_attn.o_proj.weight",
        ],
    ),
    "chatglm": (
        [
            "transformer.embedding.word_embeddings.weight",
            "transformer.encoder.final_layernorm.weight",
            "transformer.output_layer.weight",
        ],
        "transformer.encoder.layers.",
        [
            "input_layernorm.weight",
            "mlp.dense_4h_to_h.weight",
            "mlp.dense_h_to_4h.weight",
            "post_attention_layernorm.weight",
            "self_attention.dense.weight",
            "self_attention.query_key_value.bias",
            "self_attention.query_key_value.weight",
        ],
    ),
}
LAYOUTS["baichuan-13b"] = LAYOUTS["baichuan-7b"]
EXTRAS = {  # what old files hold besides, all of it following from the config
    "internlm2": "model.layers.0.attention.rotary_emb.inv_freq",
    "baichuan-7b": "model.layers.0.self_attn.rotary_emb.inv_freq",
    "chatglm": "transformer.rotary_pos_emb.inv_freq",
}
KEYS = {  # of published config.json files, that a saved one must have
    "internlm2": {"bias", "num_key_value_heads", "rope_theta", "rope_scaling", "rms_norm_eps"},
    "baichuan-7b": {"max_position_embeddings", "model_max_length", "intermediate_size"},
    "baichuan-13b": {"model_max_length", "intermediate_size", "z_loss_weight"},
    "chatglm": {"padded_vocab_size", "multi_query_group_num", "kv_channels", "ffn_hidden_size"}
    | {"num_layers", "seq_length", "layernorm_epsilon", "add_qkv_bias", "multi_query_attention"},
}


@pytest.mark.parametrize("family", FAMILIES)
def test_files_have_the_published_names_and_keys(tmp_path, family):
    model = make_family(family)
    model.save_pretrained(tmp_path)
    outer, at, inner = LAYOUTS[family]
    want = outer + [f"{at}{layer}.{name}" for layer in range(2) for name in inner]
    assert sorted(load_file(tmp_path / "model.safetensors")) == sorted(want)
    config = json.loads((tmp_path / "config.json").read_text())
    assert KEYS[family] <= set(config)
    assert "rope_parameters" not in config
    assert ("max_position_embeddings" in config) == (family in ("internlm2", "baichuan-7b"))
    assert config["architectures"] == [type(model).__name__]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_that_names_code_loads_without_it(tmp_path, family):
    model = make_family(family, seed=2)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "configuration_x.XConfig",
        "AutoModelForCausalLM": "modeling_x.X",
    }
    config["torch_dtype"] = config.pop("dtype")
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "modeling_x.py").write_text("raise SystemExit('the code was run')")
    if family in EXTRAS:
        state = load_file(tmp_path / "model.safetensors")
        save_file(
            {**state, EXTRAS[family]: torch.zeros(4)},
            tmp_path / "model.safetensors",
            metadata={"format": "pt"},
        )
    loaded = load_base(tmp_path, precision="fp32", device=CPU)
    ids = torch.arange(3, 40)[None]
    with torch.no_grad():
        assert torch.equal(loaded(ids).logits, model(ids).logits)
    loaded.save_pretrained(tmp_path / "again")
    assert "auto_map" not in json.loads((tmp_path / "again" / "config.json").read_text())
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    assert again.config.to_dict() == {
        **loaded.config.to_dict(),
        "_name_or_path": again.config.to_dict()["_name_or_path"],
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_a_config_answers_to_the_usual_names(family):
    """What servers and advisors ask of any model."""
    config = make_family(family).config
    assert config.max_position_embeddings == 512
    assert config.num_hidden_layers == 2
    assert config.intermediate_size == 128
    assert config.hidden_size // config.num_attention_heads == config.head_dim == 16
    assert config.vocab_size == 259


def test_published_configs_are_read_as_what_they_are():
    shape = {"num_hidden_layers": 1, "intermediate_size": 8}
    first_13b = BaichuanConfig(hidden_size=5120, num_attention_heads=40, model_max_length=4096)
    assert (first_13b.position_embedding, first_13b.norm_head) == ("alibi", False)
    second_7b = BaichuanConfig(max_position_embeddings=4096, vocab_size=125_696, **shape)
    assert (second_7b.position_embedding, second_7b.norm_head) == ("rope", True)
    glm4 = ChatGLMConfig(vocab_size=151_552, padded_vocab_size=151_552, rope_ratio=500)
    assert (glm4.vocab_size, glm4.rope_theta) == (151_552, 5e6)


def test_the_first_chatglm_is_refused_in_one_sentence(tmp_path):
    config = {"model_type": "chatglm", "inner_hidden_size": 16384, "position_encoding_2d": True}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(EngineError, match="first ChatGLM is another architecture") as caught:
        load_base(tmp_path, precision="fp32", device=CPU)
    assert caught.value.reason is Reason.BAD_MODEL


@pytest.mark.parametrize("family", FAMILIES)
def test_generation_with_and_without_a_cache_is_the_same(family):
    model = make_family(family, seed=3)
    ids = torch.randint(3, 250, (2, 9), generator=torch.Generator().manual_seed(0))
    said = {"max_new_tokens": 12, "do_sample": False, "eos_token_id": None}
    mask = torch.ones_like(ids)
    cached = model.generate(ids, attention_mask=mask, use_cache=True, **said)
    plain = model.generate(ids, attention_mask=mask, use_cache=False, **said)
    assert torch.equal(cached, plain)
    padded = torch.cat([torch.zeros(2, 3, dtype=torch.long), ids], dim=1)
    mask = (torch.arange(12) >= 3).long().expand(2, -1)
    beside = model.generate(padded, attention_mask=mask, **said)
    assert torch.equal(beside[:, 3:], cached)


SAMPLES = [
    Rendered(tuple(ids), (IGNORED, *ids[1:]), row=row)
    for row, ids in enumerate([[7, 9, 80, 14], [7, 9, 33] + [200] * 20 + [3], [250, 12], [7, 9]])
]


@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_packing_changes_neither_loss_nor_gradient(family, share):
    packed, plain = make_family(family, seed=5), make_family(family, seed=5)
    packed.set_attn_implementation(PACKED)
    plain.set_attn_implementation("eager")
    samples = (
        [
            Rendered(s.ids, (IGNORED,) * min(2, len(s.ids) - 1) + s.labels[2:], s.row)
            for s in SAMPLES
        ]
        if share
        else SAMPLES
    )
    samples = [s for s in samples if s.num_supervised]
    batch = collate(samples, CPU, shared=(7, 9) if share else ())
    assert batch.num_tokens == sum(len(s.ids) for s in samples) - (2 if share else 0)
    hidden = packed.get_decoder()(
        input_ids=batch.ids_1T,
        position_ids=batch.positions_1T,
        use_cache=False,
        layout=batch.layout,
    ).last_hidden_state
    logits = F.linear(hidden[0, batch.source_S], head_weight(packed))
    loss = F.cross_entropy(logits, batch.target_S, reduction="sum")
    expected = torch.zeros(())
    for sample in samples:
        out = plain(torch.tensor([sample.ids])).logits[0, :-1]
        labels = torch.tensor(sample.labels[1:])
        expected = expected + F.cross_entropy(out, labels, ignore_index=IGNORED, reduction="sum")
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-4)
    loss.backward()
    expected.backward()
    for got, want in zip(packed.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(got.grad, want.grad, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_checkpointed_layers_have_the_same_gradients(family):
    model = make_family(family, seed=6).train()
    ids = torch.arange(5, 30)[None]
    model(ids, labels=ids, use_cache=False).loss.backward()
    want = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    model.activation_checkpointing_enable()
    model(ids, labels=ids, use_cache=False).loss.backward()
    for parameter, grad in zip(model.parameters(), want, strict=True):
        torch.testing.assert_close(parameter.grad, grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_positions_behind_the_heads_are_alibi_s_bias(dtype):
    """The scores of 4096 positions away, where a bias rounded to bfloat16 would be 8 off."""
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 40, 2, 128, dtype=dtype) for _ in range(3))
    slopes, positions = make_slopes(40), torch.tensor([[9, 4104]])
    scaling = 128**-0.5
    wide_query, wide_key, wide_value = add_positions(
        (query, key, value), slopes, positions, scaling
    )
    assert wide_query.dtype == dtype
    assert wide_query.shape[-1] % 8 == 0 == wide_value[..., 128:].abs().max()
    got = wide_query.double() @ wide_key.double().mT * scaling
    plain = query.double() @ key.double().mT * scaling
    distance = positions[:, None, None, :] - positions[:, None, :, None]
    want = plain + slopes.double()[None, :, None, None] * distance
    torch.testing.assert_close(got, want, rtol=2**-16, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_slices_of_two_ranks_add_up_to_the_whole(family):
    whole = make_family(family, seed=7)
    sharding = get_sharding(whole)
    assert len(sharding) >= 2 * 4
    ids = torch.arange(5, 30)[None]
    inner, outs = {}, []
    for name, shard in sharding.items():
        module = whole.get_submodule(name) if "slopes" not in name else None
        if module is not None and shard.by == "inputs":
            module.register_forward_hook(
                lambda m, args, out, name=name: inner.__setitem__(name, (args[0], out))
            )
    with torch.no_grad():
        whole(ids)
        for rank in range(2):
            outs.append(run_rank(make_family(family, seed=7), sharding, rank, inner, ids))
    for name, (_, want) in inner.items():
        got = outs[0][name] + outs[1][name]
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def run_rank(model, sharding, rank, inner, ids):
    """Run a model with one rank's slices, each sum over the ranks given as the whole's."""
    own = {}
    for name, shard in sharding.items():
        if "slopes" in name:
            parent = model.get_submodule(name.rpartition(".")[0])
            parent.slopes_H = slice_shard(parent.slopes_H, shard, rank, 2)
            continue
        module = model.get_submodule(name)
        whole = module.weight.clone()
        pieces = [slice_shard(whole, shard, other, 2) for other in range(2)]
        assert torch.equal(join_shards(pieces, shard), whole)
        module.weight.data = pieces[rank]
        if module.bias is not None:
            module.bias.data = slice_shard(module.bias, shard, rank, 2)
        if shard.by == "inputs":

            def keep(module, args, out, name=name):
                own[name] = out
                return inner[name][1]

            module.register_forward_hook(keep)
    model(ids)
    return own


def test_a_model_of_transformers_has_its_map_from_its_plan():
    sharding = get_sharding(make_model())
    assert sharding["model.layers.1.self_attn.q_proj"].by == "outputs"
    assert sharding["model.layers.0.mlp.down_proj"].by == "inputs"


def test_parts_that_do_not_divide_are_refused():
    shard = get_sharding(make_family("internlm2"))["model.layers.0.attention.wqkv"]
    with pytest.raises(ValueError, match="128 features cannot be divided among 3 ranks"):
        slice_shard(torch.zeros(128, 4), shard, 0, 3)


def test_a_saved_family_is_a_folder_like_any_other(tmp_path):
    folder = save_family(tmp_path / "model", "internlm2")
    assert load_base(folder, precision="bf16", device=CPU).config.model_type == "internlm2"


def test_packed_samples_beyond_the_window_stretch_by_their_own_lengths():
    changes = {"rope_scaling": {"type": "dynamic", "factor": 2.0}, "max_position_embeddings": 5}
    model = make_family("internlm2", **changes)
    batch = collate(SAMPLES, CPU)
    model.set_attn_implementation(PACKED)
    with torch.no_grad():
        packed = model(
            batch.ids_1T, position_ids=batch.positions_1T, use_cache=False, layout=batch.layout
        ).logits[0]
        model.set_attn_implementation("eager")
        alone = [model(torch.tensor([sample.ids])).logits[0] for sample in SAMPLES]
    torch.testing.assert_close(packed, torch.cat(alone), rtol=1e-4, atol=1e-4)


def test_a_scaling_that_we_do_not_know_is_refused(tmp_path):
    folder = save_family(tmp_path, "internlm2")
    config = json.loads((folder / "config.json").read_text())
    config["rope_scaling"] = {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(EngineError, match="rope_scaling is longrope; known are default"):
        load_base(folder, precision="fp32", device=CPU)


@pytest.mark.parametrize("kind", ["yarn", "llama3"])
def test_other_scalings_are_those_of_llama(kind):
    extra = {"llama3": {"low_freq_factor": 1.0, "high_freq_factor": 4.0}}.get(kind, {})
    scaling = {"factor": 4.0, "original_max_position_embeddings": 128, **extra}
    ours = make_family("internlm2", rope_scaling={"type": kind, **scaling}).model.rotary_emb
    theirs = make_model(
        rope_parameters={"rope_type": kind, "rope_theta": 10_000.0, **scaling}
    ).model.rotary_emb
    positions = torch.arange(300)[None]
    cos, sin = theirs(torch.zeros(1), positions)
    torch.testing.assert_close(ours(positions)[0], cos[..., :8])
    torch.testing.assert_close(ours(positions)[1], sin[..., :8])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_compiles_whole(family):
    model, plain = make_family(family, seed=8), make_family(family, seed=8)
    model.set_attn_implementation("sdpa")
    for layer in next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList)):
        layer.compile(backend="eager", fullgraph=True, dynamic=True)
    ids = torch.arange(5, 30)[None]
    got, want = (m(ids, labels=ids, use_cache=False).loss for m in (model, plain))
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    got.backward()
    want.backward()
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wish", ["eager", "flash_attention_2"])
def test_the_attention_that_a_file_wishes_for_does_not_bind_us(tmp_path, wish):
    folder = save_family(tmp_path, "internlm2")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "attn_implementation": wish}))
    for attention in ("sdpa", PACKED):
        model = load_base(folder, precision="fp32", device=CPU, attention=attention)
        assert model.config._attn_implementation == attention


def test_a_config_of_other_types_is_refused_in_one_sentence(tmp_path):
    folder = save_family(tmp_path, "internlm2")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_size": "many"}))
    with pytest.raises(EngineError, match="Validation error for field 'hidden_size'"):
        load_base(folder, precision="fp32", device=CPU)


def test_weights_that_are_cut_short_are_refused_in_one_sentence(tmp_path):
    folder = save_family(tmp_path, "internlm2")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(EngineError, match="it cannot be opened"):
        load_base(folder, precision="fp32", device=CPU)
