"""Training tiny models of the three families: their losses, and adapters for fused layers."""

import json

import pytest
import torch
import torch.nn.functional as F
import yaml
from peft import PeftModel

from engine.__main__ import main
from engine.data.render import IGNORED, Renderer
from engine.emitter import Emitter
from engine.models.load import load_base, load_tokenizer
from engine.models.tiny import FAMILIES, make_family, save_family
from engine.specs import Placement, TrainSpec
from engine.stopping import StopGate
from engine.train.run import train

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


def write_spec(folder, model, **changes):
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    text = SPEC.format(model=model, dataset=folder / "rows.jsonl")
    return {**yaml.safe_load(text), **changes}


def list_losses(events):
    return [e["values"]["loss"] for e in events if e["type"] == "metric" and "loss" in e["values"]]


def test_the_command_teaches_a_model_of_fused_layers(tmp_path):
    model = save_family(tmp_path / "model", "internlm2", seed=3)
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(write_spec(tmp_path, str(model))))
    assert main(["train", str(spec), "--run-dir", str(tmp_path / "run"), "--threads", "1"]) == 0
    lines = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    losses = list_losses(map(json.loads, lines))
    assert len(losses) == 40
    assert losses[-1] < 0.5 * losses[0]
    base = load_base(model, precision="fp32", device=torch.device("cpu"))
    trained = PeftModel.from_pretrained(base, tmp_path / "run" / "out")
    assert sum(float(p.abs().sum()) for n, p in trained.named_parameters() if "lora_B" in n) > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_loss_is_the_one_that_the_model_itself_gives(tmp_path, family):
    """Whatever the trainer puts in the place of a model's attention and head."""
    folder = save_family(tmp_path / "model", family)
    changes = {"max_steps": 1, "tokens_per_step": 2048, "micro_batch_tokens": 2048}
    spec = TrainSpec.model_validate(write_spec(tmp_path, str(folder), **changes))
    events = []
    (tmp_path / "run").mkdir()
    train(spec, Placement(run_dir=tmp_path / "run"), Emitter(events.append), StopGate())
    (first,) = list_losses(event.model_dump() for event in events)
    renderer = Renderer(load_tokenizer(folder), max_length=64)
    model = make_family(family)
    total, count = 0.0, 0
    for row, talk in enumerate(ROWS):
        sample = renderer.render(talk["messages"], row=row)
        with torch.no_grad():
            logits = model(torch.tensor([sample.ids])).logits[0, :-1]
        labels = torch.tensor(sample.labels[1:])
        total += float(F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"))
        count += sample.num_supervised
    assert first == pytest.approx(total / count, rel=1e-4)
