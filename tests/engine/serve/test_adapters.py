"""An adapter's files: plain LoRA in safetensors is read, whatever else is there is refused."""

import json
import shutil

import pytest

from engine.errors import EngineError
from engine.serve.adapters import read_adapter


@pytest.fixture
def copied(red, tmp_path):
    return shutil.copytree(red, tmp_path / "copied")


def change_config(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


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


def test_an_initialisation_that_would_change_the_base_is_passed_over(copied):
    change_config(copied, init_lora_weights="pissa")
    assert read_adapter(copied).config.init_lora_weights is True


def test_the_digest_is_of_the_content_of_both_files(red, blue, copied):
    assert read_adapter(copied).digest == read_adapter(red).digest != read_adapter(blue).digest
    change_config(copied, lora_alpha=7)
    assert read_adapter(copied).digest != read_adapter(red).digest


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
