"""Adapters on fused projections: chosen, written, read by peft, and merged."""

import json

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from engine.__main__ import main
from engine.errors import EngineError
from engine.models.decoder import head_weight
from engine.models.load import load_base
from engine.models.lora import AUTO, add_adapter, default_targets, list_trainable
from engine.models.merge import merge_adapter
from engine.models.tiny import FAMILIES, make_family, make_model, save_family, save_tiny
from engine.specs import LoraOptions
from engine.status import Reason
from tests.engine.models.saved import save_adapter

IDS = torch.arange(4, 40)[None]
TARGETS = {
    "internlm2": ("wqkv", "wo", "w1", "w3", "w2"),
    "baichuan-7b": ("W_pack", "o_proj", "gate_proj", "up_proj", "down_proj"),
    "baichuan-13b": ("W_pack", "o_proj", "gate_proj", "up_proj", "down_proj"),
    "chatglm": ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_untouched_defaults_mean_the_model_s_own_layers(family):
    assert default_targets(make_family(family)) == TARGETS[family]
    for options in (LoraOptions(rank=2), LoraOptions(rank=2, target_modules=(AUTO,))):
        model = add_adapter(make_family(family), options, seed=0)
        assert model.peft_config["default"].target_modules == set(TARGETS[family])
        assert len(list_trainable(model)) == 2 * 2 * len(TARGETS[family])


def test_the_defaults_of_a_llama_stay_what_they_are():
    names = LoraOptions().target_modules
    assert set(default_targets(make_model())) == set(names)


def test_a_name_that_somebody_chose_must_be_there():
    with pytest.raises(EngineError, match=r"named q_proj; it has .*wqkv"):
        options = LoraOptions(target_modules=("q_proj", "wqkv"))
        add_adapter(make_family("internlm2"), options, seed=0)


def write_adapter(base, folder, seed=3, **changes):
    """Write an adapter that changes much, as peft does it itself."""
    names = list(default_targets(base))
    wanted = {"r": 4, "lora_alpha": 8, "target_modules": names, "task_type": "CAUSAL_LM"}
    model = get_peft_model(base, LoraConfig(**{**wanted, **changes}))
    generator = torch.Generator().manual_seed(seed)
    for parameter in list_trainable(model):
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
        if parameter.ndim == 2:
            parameter.data += (0.1 * noise).to(parameter.dtype)
        else:
            parameter.data *= (1 + 0.1 * noise).to(parameter.dtype)  # DoRA's magnitudes
    model.save_pretrained(folder)
    return folder


def get_logits(model):
    with torch.no_grad():
        return model.eval()(IDS).logits


KINDS = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "embeddings too": {"modules_to_save": ["embed_tokens", "lm_head"]},
}


@pytest.mark.parametrize("family", [*FAMILIES, "llama"])
@pytest.mark.parametrize("kind", ["lora", "rslora", "dora"])
def test_merged_logits_are_those_of_base_and_adapter(tmp_path, family, kind):
    base = save_any(tmp_path / "base", family)
    adapter = write_adapter(load(base), tmp_path / "adapter", **KINDS[kind])
    merge_adapter(base, adapter, tmp_path / "out")
    want = get_logits(PeftModel.from_pretrained(load(base), adapter))
    got = get_logits(load(tmp_path / "out"))
    assert (want - get_logits(load(base))).abs().max() > 0.1  # the adapter does something
    assert (got - want).abs().max() <= 1e-5 * want.abs().max()
    assert sorted(load_file(tmp_path / "out" / "model.safetensors")) == sorted(
        load_file(base / "model.safetensors")
    )
    prompt = "hello"
    tokenizers = [AutoTokenizer.from_pretrained(at) for at in (base, tmp_path / "out")]
    assert tokenizers[0].encode(prompt) == tokenizers[1].encode(prompt)


def save_any(folder, family, **changes):
    if family == "llama":
        return save_tiny(folder, initializer_range=0.2, **changes)
    return save_family(folder, family, **changes)


def load(folder):
    return load_base(folder, precision="fp32", device=torch.device("cpu"))


def test_bfloat16_weights_are_rounded_once(tmp_path):
    base = save_any(tmp_path / "base", "internlm2")
    AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16).save_pretrained(base)
    adapter = write_adapter(load(base), tmp_path / "adapter")
    merge_adapter(base, adapter, tmp_path / "out")
    got = load_file(tmp_path / "out" / "model.safetensors")
    name = "model.layers.0.attention.wqkv"
    update = load_file(adapter / "adapter_model.safetensors")
    a, b = (update[f"base_model.model.{name}.lora_{x}.weight"].double() for x in "AB")
    before = load_file(base / "model.safetensors")[f"{name}.weight"].double()
    assert got[f"{name}.weight"].dtype == torch.bfloat16
    exact = before + 2 * b @ a
    assert ((got[f"{name}.weight"].double() - exact).abs() <= 2**-8 * exact.abs() + 1e-9).all()
    want = get_logits(PeftModel.from_pretrained(load(base), adapter))
    off = (get_logits(load(tmp_path / "out")) - want).abs().max() / want.abs().max()
    assert off < 3e-2


@pytest.mark.parametrize(
    "changes",
    [
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": ["embed_tokens"]},
        {"modules_to_save": ["embed_tokens", "lm_head"]},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Model with `tie_word_embeddings=True`")
@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`")
def test_a_tied_end_that_an_adapter_changes_is_parted(tmp_path, changes):
    base = save_any(tmp_path / "base", "llama", tie_word_embeddings=True)
    adapter = write_adapter(load(base), tmp_path / "adapter", **changes)
    want = get_logits(PeftModel.from_pretrained(load(base), adapter))
    merge_adapter(base, adapter, tmp_path / "out")
    merged = load(tmp_path / "out")
    got = get_logits(merged)
    assert (want - get_logits(load(base))).abs().max() > 0.1
    assert (got - want).abs().max() <= 1e-5 * want.abs().max()


def test_a_tied_end_that_no_adapter_changes_stays_tied(tmp_path):
    base = save_any(tmp_path / "base", "llama", tie_word_embeddings=True)
    merge_adapter(base, write_adapter(load(base), tmp_path / "adapter"), tmp_path / "out")
    assert load(tmp_path / "out").config.tie_word_embeddings
    assert "lm_head.weight" not in load_file(tmp_path / "out" / "model.safetensors")


@pytest.mark.parametrize("family", [*FAMILIES, "llama", "tied"])
def test_trained_embeddings_load_with_peft_and_merge(tmp_path, family):
    """Both ends move; where the model ties them they move as one, and stay so when merged."""
    is_tied = family == "tied"
    base = save_any(tmp_path / "base", "llama" if is_tied else family, **TIES.get(family, {}))
    model = add_adapter(load(base), LoraOptions(rank=2, train_embeddings=True), seed=1)
    noise = torch.Generator().manual_seed(3)
    for parameter in list_trainable(model):
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=noise)
    ends = [model.get_base_model().get_input_embeddings(), head_weight(model.get_base_model())]
    assert ends[1].requires_grad and (ends[0].weight is ends[1]) == is_tied
    save_adapter(model, tmp_path / "adapter")
    want = get_logits(model)
    loaded = PeftModel.from_pretrained(load(base), tmp_path / "adapter")
    torch.testing.assert_close(get_logits(loaded), want)
    merge_adapter(base, tmp_path / "adapter", tmp_path / "out")
    assert (get_logits(load(tmp_path / "out")) - want).abs().max() <= 1e-5 * want.abs().max()
    kept = [load_file(at / "model.safetensors").keys() for at in (base, tmp_path / "out")]
    assert kept[0] == kept[1]


TIES = {"llama": {"tie_word_embeddings": False}, "tied": {"tie_word_embeddings": True}}


@pytest.mark.parametrize("family", FAMILIES)
def test_our_adapter_folder_loads_with_peft(tmp_path, family):
    model = add_adapter(make_family(family), LoraOptions(rank=2), seed=1)
    for parameter in list_trainable(model):
        parameter.data += 0.1
    save_adapter(model, tmp_path)
    loaded = PeftModel.from_pretrained(make_family(family), tmp_path)
    torch.testing.assert_close(get_logits(loaded), get_logits(model))
    names = load_file(tmp_path / "adapter_model.safetensors")
    assert any(name.endswith(f"{TARGETS[family][0]}.lora_A.weight") for name in names)


def test_the_command_merges_and_refuses(tmp_path, capsys):
    base = save_any(tmp_path / "base", "internlm2")
    adapter = write_adapter(load(base), tmp_path / "adapter")
    out = str(tmp_path / "out")
    assert main(["merge", str(base), str(adapter), out]) == 0
    assert load(tmp_path / "out").config.model_type == "internlm2"
    assert main(["merge", str(base), str(adapter), out]) == 2
    assert "is there already" in capsys.readouterr().err
    other = save_any(tmp_path / "other", "internlm2", hidden_size=32)
    assert main(["merge", str(other), str(adapter), str(tmp_path / "no")]) == 2
    assert main(["merge", str(base), str(base), str(tmp_path / "no")]) == 2
    errors = [x for x in capsys.readouterr().err.splitlines() if x.startswith("adapter")]
    assert len(errors) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "base", "other", "out"]


def write_reward_adapter(folder, base):
    """As a training leaves it: peft's names, and a score's row beside the matrices."""
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    # Drawn wide and from a seed of its own: a score near zero would tell nothing.
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(0))
    return write_adapter(model, folder, task_type="SEQ_CLS", modules_to_save=["score"])


def get_scores(model):
    with torch.no_grad():
        return model.eval()(input_ids=IDS).logits


@pytest.mark.parametrize("is_tied", [False, True])
def test_a_merged_reward_model_scores_as_base_and_adapter(tmp_path, is_tied):
    base = save_any(tmp_path / "base", "llama", tie_word_embeddings=is_tied)
    adapter = write_reward_adapter(tmp_path / "adapter", base)
    merge_adapter(base, adapter, tmp_path / "out")
    bare = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    want = get_scores(PeftModel.from_pretrained(bare, adapter))
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert merged.config.architectures == ["LlamaForSequenceClassification"]
    assert want.shape == (1, 1) and want.abs() > 0.1
    torch.testing.assert_close(get_scores(merged), want, rtol=1e-5, atol=1e-5)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").encode("hello")


def test_a_reward_adapter_that_cannot_be_merged_is_refused(tmp_path):
    base = save_any(tmp_path / "base", "llama")
    adapter = write_reward_adapter(tmp_path / "adapter", base)
    other = save_any(tmp_path / "other", "internlm2")
    with pytest.raises(EngineError, match="cannot be merged: .*InternLM2Config") as caught:
        merge_adapter(other, adapter, tmp_path / "out")
    assert caught.value.reason is Reason.BAD_MODEL
    stored = load_file(adapter / "adapter_model.safetensors")
    kept = {name: value for name, value in stored.items() if not name.endswith("score.weight")}
    save_file(kept, adapter / "adapter_model.safetensors")
    with pytest.raises(EngineError, match="it is to score, and .* has no score.weight"):
        merge_adapter(base, adapter, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"peft_type": "IA3"}, "it is a IA3, not a LORA"),
        ({"megatron_config": {"x": 1}}, "which imports code"),
        ({"target_modules": ["wqkv", "nowhere", "w1"]}, "missing adapter keys|nowhere"),
    ],
)
def test_an_adapter_of_another_kind_is_refused(tmp_path, changes, match):
    base = save_any(tmp_path / "base", "internlm2")
    adapter = write_adapter(load(base), tmp_path / "adapter", target_modules=["wqkv"])
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(EngineError, match=match) as caught:
        merge_adapter(base, adapter, tmp_path / "out")
    assert caught.value.reason is Reason.BAD_MODEL
