"""The fused layer gives what peft's own gives, and leaves to it what is unusual."""

import json
from copy import deepcopy

import pytest
import torch
from peft import PeftModel, get_peft_model

from engine.models.fused_lora import FusedLoraLinear
from engine.models.lora import add_adapter, list_trainable, make_config
from engine.models.tiny import make_model
from engine.specs import LoraOptions


def make_pair(options: LoraOptions) -> tuple[PeftModel, PeftModel]:
    """Return the same model and adapter, by peft's own layers and by ours; B is not zero."""
    base = make_model(attention_bias=True)
    plain = get_peft_model(deepcopy(base), make_config(base, options))
    ours = add_adapter(base, options, seed=1)
    torch.manual_seed(4)
    for parameter in list_trainable(plain):
        torch.nn.init.normal_(parameter, std=0.3)
    ours.load_state_dict(plain.state_dict())
    return plain, ours


OPTIONS = LoraOptions(rank=4, alpha=6.0, target_modules=("q_proj", "down_proj"))


def get_layer(model: PeftModel) -> FusedLoraLinear:
    layer = model.base_model.model.model.layers[0].self_attn.q_proj
    assert isinstance(layer, FusedLoraLinear)
    return layer


@pytest.mark.parametrize("variant", ["plain", "rslora"])
def test_outputs_and_gradients_are_those_of_pefts_layer(variant):
    plain, ours = make_pair(OPTIONS.model_copy(update={"variant": variant}))
    assert get_layer(ours)._get_plain_adapter() == "default"
    rows = torch.randn(2, 7, 64)
    results = []
    for model in (plain, ours):
        given = rows.clone().requires_grad_()
        out = model(inputs_embeds=given).logits
        out.square().sum().backward()
        grads = [parameter.grad for parameter in list_trainable(model)]
        results.append([out, given.grad, *grads])
    for theirs, mine in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_under_autocast_its_error_is_not_above_pefts():
    plain, ours = make_pair(OPTIONS)
    rows = torch.randn(2, 32, 64)
    truth = deepcopy(plain).double()(inputs_embeds=rows.double()).logits
    with torch.autocast("cpu", torch.bfloat16):
        theirs, mine = (model(inputs_embeds=rows).logits for model in (plain, ours))
    assert mine.dtype == theirs.dtype == torch.bfloat16
    assert (mine.double() - truth).norm() <= 1.2 * (theirs.double() - truth).norm()


@pytest.mark.parametrize(
    "options", [{"variant": "dora"}, {"dropout": 0.5}], ids=["dora", "dropout"]
)
def test_what_is_unusual_goes_the_way_of_peft(options):
    plain, ours = make_pair(OPTIONS.model_copy(update=options))
    assert get_layer(ours)._get_plain_adapter() is None
    rows, outs = torch.randn(1, 3, 64), []
    for model in (plain, ours):
        torch.manual_seed(9)
        outs.append(model.train()(inputs_embeds=rows).logits)
    torch.testing.assert_close(*outs)


def test_a_merged_or_disabled_adapter_is_not_added_again():
    plain, ours = make_pair(OPTIONS)
    ids = torch.arange(5)[None]
    with plain.disable_adapter(), ours.disable_adapter():
        torch.testing.assert_close(ours(ids).logits, plain(ids).logits)
    wanted = plain(ids).logits
    ours.merge_adapter()
    torch.testing.assert_close(ours(ids).logits, wanted)


def test_what_is_saved_is_a_common_adapter(tmp_path):
    base = make_model()
    rebuilt = deepcopy(base)
    model = add_adapter(base, LoraOptions(rank=2), seed=1)
    with torch.no_grad():
        for parameter in list_trainable(model):
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path)
    kept = json.loads((tmp_path / "adapter_config.json").read_text())
    assert "custom" not in " ".join(kept), kept
    ids = torch.arange(5)[None]
    loaded = PeftModel.from_pretrained(rebuilt, str(tmp_path))
    torch.testing.assert_close(loaded(input_ids=ids).logits, model(input_ids=ids).logits)
