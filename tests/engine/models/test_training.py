"""The train command on a tiny InternLM2: it learns, and leaves an adapter for its fused layers."""

import json

import pytest
import torch
from peft import PeftModel

from engine.__main__ import main
from engine.data.batch import collate
from engine.data.render import Renderer
from engine.models.load import load_base, load_tokenizer
from engine.models.tiny import make_family, save_family
from engine.train.attention import PACKED
from engine.train.likeness import check_likeness

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"{n}?"},
            {"role": "assistant", "content": f"No. {n % 3}."},
        ]
    }
    for n in range(24)
]
SPEC = """
model: {model}
dataset: {dataset}
max_steps: 40
num_epochs: 100
learning_rate: 0.01
tokens_per_step: 128
micro_batch_tokens: 64
max_length: 64
eval_fraction: 0
precision: fp32
lora: {{rank: 8, alpha: 16}}
"""


@pytest.mark.parametrize("family", ["internlm2", "chatglm"])
def test_the_command_teaches_a_model_of_fused_layers(tmp_path, family):
    model = save_family(tmp_path / "model", family, seed=3)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC.format(model=model, dataset=tmp_path / "rows.jsonl"))
    assert main(["train", str(spec), "--run-dir", str(tmp_path / "run"), "--threads", "1"]) == 0
    lines = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    events = list(map(json.loads, lines))
    losses = [
        e["values"]["loss"] for e in events if e["type"] == "metric" and "loss" in e["values"]
    ]
    assert len(losses) == 40
    assert losses[-1] < 0.5 * losses[0]
    base = load_base(model, precision="fp32", device=torch.device("cpu"))
    trained = PeftModel.from_pretrained(base, tmp_path / "run" / "out")
    assert sum(float(p.abs().sum()) for n, p in trained.named_parameters() if "lora_B" in n) > 0


@pytest.mark.parametrize("family", ["internlm2", "baichuan-7b", "chatglm"])
def test_the_trainer_takes_the_model_for_what_it_is(tmp_path, family):
    folder = save_family(tmp_path, family)
    renderer = Renderer(load_tokenizer(folder), max_length=64)
    samples = [renderer.render(row["messages"], row=n) for n, row in enumerate(ROWS[:3])]
    model = make_family(family)
    model.set_attn_implementation(PACKED)
    assert collate(samples, torch.device("cpu")).num_supervised
    check_likeness(model, samples, torch.device("cpu"))
