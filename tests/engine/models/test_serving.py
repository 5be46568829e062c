"""A model of fused projections behind the server's own backend, its adapter beside it."""

import pytest
import torch
from peft import PeftModel

from engine.__main__ import main
from engine.models.load import load_base, load_tokenizer
from engine.models.lora import add_adapter, list_trainable
from engine.models.tiny import FAMILIES, make_family, save_family
from engine.specs import LoraOptions
from tests.engine.models.saved import save_adapter


@pytest.mark.parametrize("family", FAMILIES)
def test_a_chat_says_what_the_model_generates(tmp_path, capsys, family):
    folder = save_family(tmp_path / "model", family)
    model = add_adapter(make_family(family), LoraOptions(rank=2), seed=0)
    for parameter in list_trainable(model):
        parameter.data += 0.05
    save_adapter(model, tmp_path / "adapter")
    assert (
        main(["chat", str(folder), "--adapter", str(tmp_path / "adapter"), "--prompt", "hi"]) == 0
    )
    said = capsys.readouterr().out
    base = load_base(folder, precision="bf16", device=torch.device("cpu"))
    trained = PeftModel.from_pretrained(base, tmp_path / "adapter")
    tokenizer = load_tokenizer(folder)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]
    mask = torch.ones_like(ids)
    with torch.no_grad():
        out = trained.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=16, do_sample=False
        )
    want = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
    assert said.startswith(want.rstrip("\ufffd")[:8])
