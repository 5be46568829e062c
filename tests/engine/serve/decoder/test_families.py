"""Folders that are no model are refused in one sentence that names what is wrong."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import EngineError
from engine.serve.decoder.families import read_model
from engine.status import Reason
from tests.engine.serve.decoder.cases import make_case, save_case


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_tensors(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def cut_short(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def write_index(folder, weight_map):
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


Q = "model.layers.0.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "config.json").write_text("{"), "config.json cannot be read"),
        (lambda f: (f / "config.json").write_text("[]"), "config.json cannot be read"),
        (lambda f: change_config(f, model_type="gpt2"), "'gpt2'; served are llama, qwen2"),
        (lambda f: change_config(f, model_type=None), "is None; served are"),
        (lambda f: change_config(f, hidden_act="relu"), "hidden_act 'relu' is not followed"),
        (lambda f: change_config(f, hidden_size="many"), "config.json cannot be used"),
        (lambda f: change_config(f, num_attention_heads=0), "config.json"),
        (lambda f: change_config(f, num_key_value_heads=0), "num_key_value_heads must be"),
        (lambda f: change_config(f, num_key_value_heads=3), "its heads do not divide"),
        (lambda f: change_config(f, vocab_size=-1), "vocab_size must be a positive number"),
        (
            lambda f: change_config(
                f, rope_parameters={"rope_type": "default", "rope_theta": -1.0}
            ),
            "rope_theta must be a positive number, not -1.0",
        ),
        (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json cannot be read"),
        (lambda f: change_config(f, num_hidden_layers=10**9), "num_hidden_layers must be"),
        (lambda f: change_config(f, num_hidden_layers=4), "no tensor model.layers.3."),
        (lambda f: change_config(f, num_hidden_layers=2), "which a model of its kind has not"),
        (lambda f: change_config(f, vocab_size=10**12), "embed_tokens.weight has the shape"),
        (
            lambda f: change_config(f, rope_parameters={"rope_type": "longrope", "factor": 2.0}),
            "longrope",
        ),
        (lambda f: change_tensors(f, lambda t: t.pop(Q)), f"no tensor {Q}"),
        (
            lambda f: change_tensors(f, lambda t: t.update({Q: torch.zeros(64, 63)})),
            rf"{Q} has the shape \(64, 63\), its config.json says \(64, 64\)",
        ),
        (
            lambda f: change_tensors(f, lambda t: t.update({Q: t[Q].to(torch.int8)})),
            "is torch.int8 and config.json does not say how",
        ),
        (
            lambda f: change_tensors(f, lambda t: t.update({"model.extra": torch.zeros(1)})),
            "model.extra, which a model of its kind has not",
        ),
        (cut_short, "model.safetensors cannot be read"),
        (lambda f: (f / "model.safetensors").unlink(), "it has no model.safetensors"),
        (lambda f: write_index(f, {"a": "../part.safetensors"}), "is no file beside it"),
        (lambda f: write_index(f, {"a": "lost.safetensors"}), "lost.safetensors cannot be read"),
        (lambda f: write_index(f, {"a": "part.safetensors"}), "has no a, which its index says"),
        (lambda f: write_index(f, [1]), "index.json cannot be read"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_sentence(tmp_path, damage, words):
    folder = save_case(tmp_path / "broken", "llama")
    damage(folder)
    with pytest.raises(EngineError, match=words) as caught:
        read_model(folder, dtype=torch.float32)
    assert caught.value.reason == Reason.BAD_MODEL
    assert caught.value.message.startswith("model: broken cannot be served: ")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("option", ["attn_logit_softcapping", "final_logit_softcapping"])
def test_an_option_that_is_not_followed_is_named(tmp_path, option):
    folder = save_case(tmp_path / "model", "gemma3")
    change_config(folder, **{option: 30.0})
    with pytest.raises(EngineError, match=f"{option} is not followed"):
        read_model(folder, dtype=torch.float32)


def test_a_model_in_several_files_is_the_same_model(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    make_case("mixtral").save_pretrained(whole)
    make_case("mixtral").save_pretrained(parts, max_shard_size="100KB")
    assert len(list(parts.glob("*.safetensors"))) > 1
    (shape, weights), (other_shape, others) = (
        read_model(folder, dtype=torch.bfloat16) for folder in (whole, parts)
    )
    assert shape == other_shape
    assert torch.equal(
        weights.layers[2].experts[3].down.weight, others.layers[2].experts[3].down.weight
    )
    assert weights.embedding.dtype == torch.bfloat16
    assert weights.norm.dtype == torch.float32


def test_a_tied_head_shares_its_embedding(tmp_path):
    _, weights = read_model(save_case(tmp_path / "m", "llama-llama3"), dtype=torch.float32)
    assert weights.head.weight is weights.embedding
