"""Which layers are quantized, family by family, and that folding a scale changes no function."""

import json

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from engine.errors import EngineError
from engine.models.tiny import make_family, make_model, make_tokenizer
from engine.quantize.plan import find_norm_offset, fold_scale, list_linears, plan_layer
from engine.quantize.streamed import StreamedModel
from engine.serve.decoder.families import read_model
from engine.serve.decoder.torch_decoder import TorchDecoder
from tests.engine.quantize.conftest import run_quantize
from tests.engine.serve.decoder.cases import Request, draw_ids, run_step, save_case

SHAPE = {
    "vocab_size": 259,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 512,
    "initializer_range": 0.1,
}


def make(family: str):
    torch.manual_seed(0)
    if family == "llama":
        model = make_model(initializer_range=0.1)
    elif family == "internlm2":
        model = make_family("internlm2", bias=True)
    elif family == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**SHAPE))
    elif family == "qwen3":
        model = Qwen3ForCausalLM(Qwen3Config(**SHAPE))
    elif family == "mistral":
        model = MistralForCausalLM(MistralConfig(**SHAPE, sliding_window=24))
    else:
        gemma = {"sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"]}
        model = Gemma3ForCausalLM(Gemma3TextConfig(**SHAPE, **gemma, query_pre_attn_scalar=16))
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn(parameter.shape)
    return model.eval()


FAMILIES = ["llama", "internlm2", "qwen2", "qwen3", "mistral", "gemma3"]


@pytest.mark.parametrize("family", FAMILIES)
def test_folding_scales_into_every_group_leaves_the_logits(family):
    model = make(family)
    ids = torch.arange(3, 51)[None]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        before = model(ids).logits
        for layer in model.get_decoder().layers:
            for group in plan_layer(layer, model.config):
                width = layer.get_submodule(group.linears[0]).in_features
                scale = torch.rand(width, generator=generator) * 4 + 0.25
                fold_scale(layer, group, group.merge(scale))
        after = model(ids).logits
    assert torch.allclose(after, before, atol=2e-4 * float(before.abs().max()))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_at_a_time_computes_what_the_whole_model_does(family, tmp_path):
    model = make(family)
    model.save_pretrained(tmp_path)
    ids = torch.randint(3, 250, (3, 40), generator=torch.Generator().manual_seed(2))
    streamed = StreamedModel(tmp_path, torch.device("cpu"))
    hidden, _ = streamed.begin(ids)
    _, calls = streamed.begin(ids[:1])
    with torch.no_grad():
        for index, given in enumerate(calls):
            with streamed.loaded(index) as layer:
                out = layer(hidden, **given)
                hidden = out[0] if isinstance(out, tuple) else out
        wanted = model(ids).logits
    assert torch.allclose(streamed.end(ids, hidden), wanted, atol=1e-4)
    assert all(parameter.is_meta for parameter in streamed.layers.parameters())


@pytest.mark.parametrize("stays", [True, False])
def test_greedy_writing_is_that_of_the_whole_model(tmp_path, monkeypatch, stays):
    model = make("llama")
    model.save_pretrained(tmp_path)
    if not stays:
        monkeypatch.setattr("engine.quantize.streamed._SMALL_BYTES", 0)
    prompts = torch.randint(3, 250, (2, 8), generator=torch.Generator().manual_seed(2))
    made = StreamedModel(tmp_path, torch.device("cpu")).write_greedily(prompts, 6)
    ids = prompts
    with torch.no_grad():
        for _ in range(6):
            ids = torch.cat([ids, model(ids).logits[:, -1:].argmax(-1)], dim=1)
    assert torch.equal(made, ids)


@pytest.mark.parametrize("family", ["internlm2", "gemma3"])
def test_a_family_goes_through_the_verb(family, tmp_path, language):
    make(family).save_pretrained(tmp_path / "model")
    make_tokenizer().save_pretrained(tmp_path / "model")
    folder, report = run_quantize(
        tmp_path / "run",
        model=str(tmp_path / "model"),
        dataset=str(language),
        method="smoothquant",
        num_samples=8,
        num_held_out=4,
    )
    assert 0.95 < report.perplexity_ratio < 1.05
    assert set(report.kv) == {"int8", "int4"}
    read = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    ids = torch.arange(3, 51)[None]
    with torch.no_grad():
        given, wanted = read(ids).logits, whole(ids).logits
    assert float((given - wanted).abs().mean()) < 0.15 * float(wanted.std())


def test_what_a_norm_adds_to_its_weight_is_found():
    assert find_norm_offset(make("gemma3").get_decoder().layers[0].input_layernorm) == 1
    assert find_norm_offset(make("llama").get_decoder().layers[0].input_layernorm) == 0


def test_values_of_shared_heads_are_found_in_the_fused_projection():
    """Doubling one value's row is what doubling the inputs that are made of it undoes."""
    model = make("internlm2")
    layer = model.get_decoder().layers[0]
    group = next(g for g in plan_layer(layer, model.config) if g.linears == ("attention.wo",))
    rows = group.before.rows_I
    assert len(set(rows.tolist())) == 32  # two value heads of sixteen
    assert rows[:16].tolist() == rows[16:32].tolist()  # two query heads read one value


@pytest.mark.parametrize("family", ["gpt2", "mixtral", "baichuan-7b"])
def test_other_families_are_refused_in_a_sentence(family, tmp_path):
    if family == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(n_embd=64, n_layer=2, n_head=4, vocab_size=259))
    elif family == "mixtral":
        model = MixtralForCausalLM(MixtralConfig(**SHAPE, num_local_experts=2))
    else:
        model = make_family(family)
    model.save_pretrained(tmp_path)
    with pytest.raises(EngineError) as refused:
        StreamedModel(tmp_path, torch.device("cpu"))
    assert refused.value.message.startswith("model: ")
    assert refused.value.message.endswith(".")


def test_a_quantized_model_is_not_quantized_again(quantized):
    with pytest.raises(EngineError, match="quantized already"):
        StreamedModel(quantized("awq")[0], torch.device("cpu"))


def test_every_linear_layer_is_in_a_plan():
    model = make("llama")
    layer = model.get_decoder().layers[0]
    linears = [n for n, m in layer.named_modules() if isinstance(m, torch.nn.Linear)]
    assert sorted(list_linears(plan_layer(layer, model.config))) == sorted(linears)


@pytest.mark.parametrize("layout", ["gemma3-whole", "gemma3-whole-5"])
@pytest.mark.parametrize("method", ["awq", "smoothquant"])
def test_of_a_model_that_sees_the_text_part_is_quantized(tmp_path, language, layout, method):
    base = save_case(tmp_path / "model", layout, vocab_size=259, hidden_size=64)
    make_tokenizer().save_pretrained(base)
    folder, report = run_quantize(
        tmp_path / "run",
        model=str(base),
        dataset=str(language),
        method=method,
        num_samples=8,
        num_held_out=4,
    )
    assert 0.8 < report.perplexity_ratio < 1.25
    assert report.base_size_bytes < (base / "model.safetensors").stat().st_size
    config = json.loads((folder / "config.json").read_text())
    assert (config["model_type"], config["architectures"]) == ("gemma3_text", ["Gemma3ForCausalLM"])
    ids = draw_ids(40)
    found = []
    for each in (folder, base):
        shape, weights = read_model(each, dtype=torch.float32)
        decoder = TorchDecoder(shape, weights, num_blocks=4)
        found += run_step(decoder, [(Request(ids, [0, 1, 2]), 40)])
    assert weights.layers[0].query.kind == "dense"
    assert (found[0] - found[1]).norm() < 0.3 * found[1].norm()


@pytest.mark.parametrize("family", ["olmo2", "cohere", "olmo", "llama4"])
def test_layers_that_only_share_their_names_with_llamas_are_refused(family, tmp_path):
    """Normed elsewhere, or by norms without a weight to take a scale; or more than one of text."""
    sizes = {name: value for name, value in SHAPE.items() if name != "head_dim"}
    config = AutoConfig.for_model(family, **({} if family == "llama4" else sizes))
    if family == "llama4":
        config = AutoConfig.for_model(
            family, text_config=sizes, vision_config={"num_hidden_layers": 1, "hidden_size": 16}
        )
        config.save_pretrained(tmp_path)
        save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    else:
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(EngineError) as refused:
        StreamedModel(tmp_path, torch.device("cpu"))
    words = "are more than one of text" if family == "llama4" else "as Llama's are"
    assert words in refused.value.message and refused.value.message.endswith(".")
