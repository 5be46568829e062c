"""Another rope base: trained with, saved with, and the same function as the model that has it."""

import json

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from transformers import AutoConfig, GPT2Config, LlamaForCausalLM

from engine.data.render import IGNORED, Renderer
from engine.emitter import Emitter
from engine.errors import EngineError
from engine.models.context import change_window
from engine.models.load import load_base, load_tokenizer
from engine.models.tiny import make_family, save_family, save_tiny
from engine.specs import Placement, TrainSpec
from engine.specs.context import ContextOptions
from engine.stopping import StopGate
from engine.train.run import train

LONG = {"rope_theta": 50_000.0, "max_position": 4096}
ROWS = [
    {"messages": [{"role": "user", "content": f"{n}?" * 9}, {"role": "assistant", "content": "No"}]}
    for n in range(4)
]


@pytest.mark.parametrize("family", ["llama", "internlm2", "baichuan-7b", "chatglm"])
def test_a_longer_window_is_trained_and_saved(tmp_path, family):
    model = tmp_path / "model"
    if family == "llama":
        save_tiny(model, initializer_range=0.2)
    else:
        save_family(model, family)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    spec = TrainSpec.model_validate(
        {
            "model": str(model), "dataset": str(tmp_path / "rows.jsonl"), "method": "full",
            "max_steps": 1, "tokens_per_step": 1024, "micro_batch_tokens": 1024, "max_length": 128,
            "eval_fraction": 0, "precision": "fp32", "learning_rate": 1e-9, "context": LONG,
        }
    )  # fmt: skip
    events = []
    (tmp_path / "run").mkdir()
    train(spec, Placement(run_dir=tmp_path / "run"), Emitter(events.append), StopGate())
    (loss,) = [e.values["loss"] for e in events if e.type == "metric"]
    plain, wanted = (measure(open_with(model, family, theta), model) for theta in (1e4, 5e4))
    assert loss == pytest.approx(wanted, rel=1e-5)
    assert abs(loss - plain) > 1e-4 * plain  # the base shows
    out = tmp_path / "run" / "out"
    config = AutoConfig.from_pretrained(out)
    assert config.max_position_embeddings == 4096
    saved = load_base(out, precision="fp32", device=torch.device("cpu"))
    assert measure(saved, out) == pytest.approx(loss, rel=1e-5)
    assert load_tokenizer(out).model_max_length == 4096


def open_with(folder, family, theta):
    """Transformers' own Llama, or ours made anew, by the config's own keys."""
    if family == "llama":
        config = AutoConfig.from_pretrained(folder)
        config.rope_parameters = {"rope_type": "default", "rope_theta": theta}
        return LlamaForCausalLM.from_pretrained(folder, config=config)
    key = {"rope_ratio": theta / 1e4} if family == "chatglm" else {"rope_theta": theta}
    return make_family(family, **key)


def measure(model, folder):
    """The mean loss of the rows."""
    renderer = Renderer(load_tokenizer(folder), max_length=128)
    total, count = 0.0, 0
    for row, talk in enumerate(ROWS):
        sample = renderer.render(talk["messages"], row=row)
        with torch.no_grad():
            logits = model(torch.tensor([sample.ids])).logits[0, :-1]
        labels = torch.tensor(sample.labels[1:])
        total += float(F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"))
        count += int((labels != IGNORED).sum())
    return total / count


@pytest.mark.parametrize(
    "config", [GPT2Config(), make_family("baichuan-13b").config], ids=["learnt", "alibi"]
)
def test_a_model_without_rotary_positions_is_refused(config):
    with pytest.raises(EngineError, match="has no rotary positions.*leave context out"):
        change_window(config, ContextOptions(**LONG))


def test_an_adapter_cannot_change_its_base():
    with pytest.raises(ValidationError, match="context: an adapter cannot change its base"):
        TrainSpec(model="./m", dataset="./d", context=ContextOptions(**LONG))
