"""Adapters beside one base: each answers as peft alone would, and no file reaches the base."""

import json
import shutil

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from engine.errors import EngineError
from engine.models.tiny import make_model
from engine.serve.adapters import AdapterRack, read_adapter

IDS = torch.arange(3, 60)[None]


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


def run(model):
    return model(IDS).logits


@pytest.fixture
def rack():
    return AdapterRack(make_model())


def test_each_adapter_and_the_base_answer_as_if_alone(rack, red, blue):
    alone = {None: run(make_model())}
    for key, folder in (("a1", red), ("a2", blue)):
        rack.add(key, read_adapter(folder))
        alone[key] = run(PeftModel.from_pretrained(make_model(), folder))
    for key in (None, "a1", "a2", "a1", None, "a2", "a2", None):
        assert torch.equal(run(rack.use(key)), alone[key])
    assert not torch.equal(alone["a1"], alone["a2"])


def test_removing_an_adapter_leaves_the_others_as_they_were(rack, red, blue):
    rack.add("a1", read_adapter(red))
    rack.add("a2", read_adapter(blue))
    before = run(rack.use("a2"))
    rack.use("a1")
    rack.remove("a1")
    assert torch.equal(run(rack.use(None)), run(make_model()))
    assert torch.equal(run(rack.use("a2")), before)


def test_after_the_last_adapter_is_gone_another_can_come(rack, red):
    rack.add("a1", read_adapter(red))
    before = run(rack.use("a1"))
    rack.remove("a1")
    rack.add("a2", read_adapter(red))
    assert torch.equal(run(rack.use("a2")), before)


@pytest.fixture
def copied(red, tmp_path):
    return shutil.copytree(red, tmp_path / "copied")


def change_config(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder, change):
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"bias": "all"}, "bias"),
        ({"use_dora": True}, "use_dora"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"a_setting_of_next_year": 1}, "a_setting_of_next_year"),
        ({"peft_type": "IA3"}, "peft_type"),
        ({"r": 0}, "r in"),
        ({"r": 100_000}, "r in"),
        ({"lora_alpha": "much"}, "lora_alpha"),
        ({"target_modules": ".*"}, "target_modules"),
        ({"rank_pattern": {"(a+)+$": 4}}, "rank_pattern"),
    ],
)
def test_settings_beyond_plain_lora_are_refused(copied, changes, word):
    change_config(copied, **changes)
    with pytest.raises(EngineError, match=word):
        read_adapter(copied)


def test_an_initialisation_that_would_change_the_base_changes_nothing(rack, copied):
    change_config(copied, init_lora_weights="pissa")
    rack.add("a1", read_adapter(copied))
    assert torch.equal(run(rack.use(None)), run(make_model()))


def test_pickled_weights_are_not_read(copied):
    (copied / "adapter_model.safetensors").rename(copied / "adapter_model.bin")
    with pytest.raises(EngineError, match=r"adapter_model\.safetensors"):
        read_adapter(copied)


@pytest.mark.parametrize("rest", [None, "config", "weights"])
def test_a_folder_that_is_no_adapter_is_refused(copied, rest):
    if rest != "config":
        (copied / "adapter_config.json").write_text("[1]")
    if rest != "weights":
        (copied / "adapter_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(EngineError):
        read_adapter(copied)


def add_base_weight(weights):
    weights["base_model.model.model.norm.weight"] = torch.zeros(64)


def drop_one(weights):
    del weights[min(weights)]


def grow_one(weights):
    weights[min(weights)] = torch.zeros(3, 3)


@pytest.mark.parametrize(
    ("change", "word"),
    [(add_base_weight, "unknown weight"), (drop_one, "no weight"), (grow_one, "shape")],
)
def test_weights_that_do_not_fit_are_refused_and_leave_no_trace(rack, red, copied, change, word):
    rack.add("a1", read_adapter(red))
    before = run(rack.use("a1"))
    change_weights(copied, change)
    with pytest.raises(EngineError, match=word):
        rack.add("a2", read_adapter(copied))
    assert torch.equal(run(rack.use(None)), run(make_model()))
    assert torch.equal(run(rack.use("a1")), before)


def test_layers_that_the_base_lacks_are_refused_by_name(rack, copied):
    change_config(copied, target_modules=["q_proj", "query_key_value"])
    with pytest.raises(EngineError, match="query_key_value"):
        rack.add("a1", read_adapter(copied))
    assert torch.equal(run(rack.use(None)), run(make_model()))
