"""A small model that was trained here, so that its weights never lay on any grid."""

import json
import random
from pathlib import Path

import pytest
import torch

from engine.emitter import Emitter
from engine.models.tiny import make_model, make_tokenizer
from engine.quantize.report import read_report
from engine.quantize.run import quantize
from engine.specs import JOB_SPEC, Placement
from engine.specs.quality import QualityReport
from engine.stopping import StopGate

_STEPS, _BATCH, _LENGTH, _RATE = 160, 8, 64, 0.01
_NUM_OUTLIERS, _OUTLIER = 4, 25.0


@pytest.fixture(scope="session")
def language(tmp_path_factory) -> Path:
    """Texts of a language of forty words, each followed by one of three: a file of rows."""
    draw = random.Random(7)
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(3, 6))) for _ in range(40)]
    after = {word: draw.sample(words, 3) for word in words}
    path = tmp_path_factory.mktemp("data") / "texts.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for _ in range(200):
            text = [draw.choice(words)]
            while len(text) < 60:
                text.append(draw.choices(after[text[-1]], weights=(6, 3, 1))[0])
            file.write(json.dumps({"text": " ".join(text)}) + "\n")
    return path


@pytest.fixture(scope="session")
def trained(language, tmp_path_factory) -> Path:
    """A tiny Llama that has learnt the language, with outlier channels as large models have them.

    Those come from a change that keeps the function: a few channels of each norm are made 25 times
    larger, and the weights that read them as much smaller.
    """
    tokenizer = make_tokenizer()
    rows = [json.loads(line)["text"] for line in language.read_text().splitlines()]
    ids = torch.tensor([index for row in rows for index in tokenizer.encode(row)])
    model = make_model(seed=1).train()
    _train(model, ids)
    _add_outliers(model)
    folder = tmp_path_factory.mktemp("models") / "trained"
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def quantized(trained, language, tmp_path_factory):
    """Quantizes the trained model once for each method; returns the folder and the report."""
    made: dict[str, tuple[Path, QualityReport]] = {}

    def make(method: str) -> tuple[Path, QualityReport]:
        if method not in made:
            run_dir = tmp_path_factory.mktemp(method)
            fields = {"model": str(trained), "dataset": str(language), "method": method}
            made[method] = run_quantize(run_dir, **fields)
        return made[method]

    return make


def run_quantize(run_dir: Path, **fields: object) -> tuple[Path, QualityReport]:
    """Quantize as a run does, small; return the folder that it wrote and its report."""
    usual = {"kind": "quantize", "length": 64, "num_samples": 32, "num_held_out": 16}
    spec = JOB_SPEC.validate_python(usual | fields)
    quantize(spec, Placement(run_dir=run_dir, num_threads=1), Emitter(), StopGate())
    report = read_report(run_dir / "out")
    assert report is not None
    return run_dir / "out", report


def _train(model: torch.nn.Module, ids: torch.Tensor) -> None:
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, betas=(0.9, 0.95))
    for step in range(_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1, (step + 1) / 10) * (1 - 0.9 * step / _STEPS)
        starts = torch.randint(0, len(ids) - _LENGTH, (_BATCH,), generator=generator)
        batch = torch.stack([ids[start : start + _LENGTH] for start in starts])
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def _add_outliers(model) -> None:
    generator = torch.Generator().manual_seed(1)
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        for norm, readers in (
            (layer.input_layernorm, (attention.q_proj, attention.k_proj, attention.v_proj)),
            (layer.post_attention_layernorm, (mlp.gate_proj, mlp.up_proj)),
        ):
            places = torch.randperm(len(norm.weight), generator=generator)[:_NUM_OUTLIERS]
            norm.weight[places] *= _OUTLIER
            for reader in readers:
                reader.weight[:, places] /= _OUTLIER
