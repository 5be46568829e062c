"""The quantize verb: from a spec file to a folder, and what it says when it cannot."""

import json
import subprocess
import sys

import pytest
import torch
import yaml
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from engine.errors import EngineError
from engine.quantize.report import read_report
from engine.quantize.writer import CheckpointWriter
from engine.status import Reason
from tests.engine.quantize.conftest import run_quantize
from tests.engine.recorded import read_events


def test_a_spec_file_becomes_a_model_with_its_report(trained, tmp_path):
    """Through the command line and the recorder, on the data that comes with the engine."""
    fields = {"model": str(trained), "method": "int8", "length": 128, "num_samples": 8}
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(fields | {"num_held_out": 4}))
    command = [sys.executable, "-m", "engine", "quantize", str(spec), "--threads", "1"]
    done = subprocess.run(
        [*command, "--run-dir", str(tmp_path / "run")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    events = read_events(tmp_path / "run")
    stages = [event.stage for event in events if event.type == "progress"]
    assert {"prepare", "quantize", "evaluate"} <= set(stages)
    metrics = [event for event in events if event.type == "metric"]
    assert [event.step for event in metrics] == [1, 2]
    assert set(metrics[0].values) == {"linear_error", "stream_error"}
    (artifact,) = [event for event in events if event.type == "artifact"]
    assert (artifact.role, artifact.path) == ("model", "out")
    report = read_report(tmp_path / "run" / "out")
    assert report is not None and report.calibration.dataset == ""
    provenance = json.loads((tmp_path / "run" / "out" / "athanor.json").read_text())
    assert (provenance["kind"], provenance["dataset"]) == ("model", None)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "out", dtype=torch.float32)
    assert loaded(torch.arange(3, 9)[None]).logits.isfinite().all()
    assert list((tmp_path / "run" / "data").iterdir()) == []  # no activations stay


@pytest.mark.parametrize(
    ("fields", "reason", "words"),
    [
        ({"length": 1024}, Reason.BAD_SPEC, "length: the model reads 512 tokens at most"),
        ({"group_size": 128}, Reason.BAD_SPEC, "group_size: 64 inputs of a layer"),
        ({"model": "./nowhere"}, Reason.BAD_MODEL, "nowhere does not exist"),
        ({"dataset": "SHORT"}, Reason.BAD_DATA, "hold no whole window of 64 tokens"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(trained, tmp_path, fields, reason, words):
    short = tmp_path / "short.jsonl"
    short.write_text('{"text": "too little"}\n')
    given = {name: str(short) if value == "SHORT" else value for name, value in fields.items()}
    with pytest.raises(EngineError) as refused:
        run_quantize(tmp_path / "run", **{"model": str(trained), "method": "rtn"} | given)
    assert refused.value.reason is reason
    assert words in refused.value.message and refused.value.message.endswith(".")


def test_many_shards_are_one_model(tmp_path):
    writer = CheckpointWriter(tmp_path, shard_bytes=100)
    tensors = {f"layer.{n}": torch.full((10,), float(n)) for n in range(5)}
    for name, tensor in tensors.items():
        writer.add(name, tensor)
    writer.close()
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == writer.num_bytes == 200
    assert set(index["weight_map"]) == set(tensors)
    assert len(set(index["weight_map"].values())) == 3
    for name, shard in index["weight_map"].items():
        with safe_open(tmp_path / shard, framework="pt") as file:
            assert torch.equal(file.get_tensor(name), tensors[name])


def test_the_same_spec_makes_the_same_weights(trained, tmp_path):
    made = [
        run_quantize(tmp_path / name, model=str(trained), method="gptq")[0] for name in ("a", "b")
    ]
    first, second = ((folder / "model.safetensors").read_bytes() for folder in made)
    assert first == second
