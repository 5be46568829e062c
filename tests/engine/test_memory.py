"""The predicted memory of trainings against what they take: counted in a layer, and measured."""

import json
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
import torch
from transformers import AutoModelForCausalLM

from engine.data.batch import collate
from engine.data.render import Renderer
from engine.models.load import has_fast_bf16
from engine.models.nf4 import quantize_base
from engine.models.tiny import FAMILIES, make_family, make_model, make_tokenizer, save_tiny
from engine.specs import TrainSpec
from engine.specs.estimate import DataFacts, Machine, ModelShape, estimate_train
from engine.specs.memory import Settings, count_layer_bytes
from engine.train.attention import PACKED
from engine.train.mesh import open_mesh
from engine.train.prepare import make_trainee, ready
from tests.engine.memory_case import write_rows

TEXT = "The furnace feeds itself and burns for days on one load. " * 9
GIB = 2**30


def make_spec(**changes):
    return TrainSpec.model_validate({"model": "./m", "dataset": "./d", **changes})


@pytest.mark.parametrize("family", FAMILIES)
def test_configs_of_the_in_repo_models_are_read(family):
    model = make_family(family)
    shape = ModelShape.from_config(json.loads(model.config.to_json_string()))
    assert shape.num_params == pytest.approx(sum(p.numel() for p in model.parameters()), rel=0.03)
    assert (shape.num_layers, shape.max_context) == (2, 512)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", ["lora", "qlora", "full"])
def test_what_a_layer_keeps_is_what_autograd_saves(method, precision):
    """Of two models that differ by one layer, the second's tensors that wait for the backward."""
    spec = make_spec(stage="pretrain", method=method, precision=precision)
    four, length, _ = count_saved(spec, num_hidden_layers=4)
    five, _, shape = count_saved(spec, num_hidden_layers=5)
    facts = DataFacts(
        num_samples=1, num_tokens=length, num_supervised_tokens=length, longest_tokens=length
    )
    machine = Machine(num_cores=1, memory_bytes=GIB, has_bf16=True)
    told = count_layer_bytes(Settings(spec, shape, facts, machine))
    assert (five - four) / length == pytest.approx(told, rel=0.04)


def count_saved(spec, **changes):
    """Return the bytes kept for the backward pass but weights, the tokens, and the shape."""
    base = make_model(max_position_embeddings=1024, tie_word_embeddings=False, **changes)
    base.set_attn_implementation(PACKED)
    base.requires_grad_(False)
    is_bf16 = spec.precision == "bf16"
    if is_bf16 and spec.method != "full":
        base = base.bfloat16()
    if spec.method == "qlora":
        base = quantize_base(base)
    trainee = make_trainee(base, spec)
    trainee.compute_dtype = torch.bfloat16 if is_bf16 else torch.float32
    trainee = ready(trainee, spec, open_mesh(spec.parallel, torch.device("cpu"))).train()
    (sample,) = Renderer(make_tokenizer(), max_length=1024).render_text(TEXT, row=0)
    length, kept = len(sample.ids), {}

    def keep(tensor):
        if any(abs(size - length) <= 1 for size in tensor.shape):  # others are weights, cast
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        trainee(collate([sample], torch.device("cpu")))
    shape = ModelShape.from_config(base.config.to_dict())
    return sum(storage.nbytes() for storage in kept.values()), length, shape


LLAMA_7B = {
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
}
INTERNLM2_7B = LLAMA_7B | {
    "model_type": "internlm2",
    "intermediate_size": 14336,
    "num_key_value_heads": 8,
    "vocab_size": 92544,
}
SMALL_GPU = Machine(num_cores=8, memory_bytes=64 * GIB, num_devices=1, device_memory_bytes=8 * GIB)
MANY = DataFacts(
    num_samples=10**5, num_tokens=10**8, num_supervised_tokens=10**8, longest_tokens=2048
)


@pytest.mark.parametrize("config", [LLAMA_7B, INTERNLM2_7B], ids=["llama", "internlm2"])
def test_seven_billion_weights_in_four_bits_are_made_to_fit_eight_gib(config):
    """Whole windows of 2048 do not fit; recomputed they do, and nothing else was given up."""
    shape = ModelShape.from_config(config)
    assert shape.num_params == pytest.approx(7e9, rel=0.12)
    spec = make_spec(
        method="qlora", max_length=2048, micro_batch_tokens=2048, tokens_per_step=16384
    )

    def predict(**changes):
        changed = TrainSpec.model_validate(spec.model_dump() | changes)
        return estimate_train(changed, shape, MANY, SMALL_GPU).peak_memory_bytes

    assert predict() > 8 * GIB
    assert predict(activation_checkpointing="full") < 7.6 * GIB
    assert predict(method="lora", activation_checkpointing="full") > 12 * GIB


def test_spread_weights_are_held_in_part():
    shape, one = ModelShape.from_config(LLAMA_7B), make_spec(method="full")
    eight = make_spec(method="full", parallel={"shards": 8})
    whole, part = (estimate_train(s, shape, MANY, SMALL_GPU).memory_parts for s in (one, eight))
    assert part["adapter"] == pytest.approx(whole["adapter"] / 8, rel=1e-6)
    assert part["activations"] == whole["activations"]
    halves = make_spec(method="full", parallel={"sequence": 2, "tensor": 2})
    parts = estimate_train(halves, shape, MANY, SMALL_GPU).memory_parts
    assert parts["activations"] < 0.5 * whole["activations"]
    on_cpu = SMALL_GPU.model_copy(update={"num_devices": 0})
    alone, four = (estimate_train(s, shape, MANY, on_cpu).memory_parts for s in (one, halves))
    assert four["process"] == 4 * alone["process"]


def test_what_saves_memory_is_predicted_to():
    shape = ModelShape.from_config(LLAMA_7B)
    plain = predict_parts_of(shape)
    assert predict_parts_of(shape, precision="fp8") == plain
    saved = plain["adapter"] - predict_parts_of(shape, optimizer="adamw8bit")["adapter"]
    packed = shape.num_params - shape.vocab_size * shape.hidden_size  # embeddings never are
    opened = 20 * 2**22  # while they are changed
    assert saved == pytest.approx(5.96 * packed - opened, rel=1e-3)
    saved = plain["adapter"] - predict_parts_of(shape, optimizer="muon")["adapter"]
    assert saved == pytest.approx(4 * (shape.num_params - shape.end_params), rel=1e-3)
    away = predict_parts_of(shape, offload="both")
    assert away["adapter"] == pytest.approx(plain["adapter"] / 2, rel=1e-6)
    assert away["activations"] < 0.1 * plain["activations"]
    stages = predict_parts_of(shape, parallel={"pipeline": 4})
    assert stages["adapter"] == pytest.approx(plain["adapter"] / 4, rel=1e-6)


def predict_parts_of(shape, **changes):
    spec = make_spec(method="full", **changes)
    return estimate_train(spec, shape, MANY, SMALL_GPU).memory_parts


SIZES = {
    "wide": {
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "vocab_size": 8192,
        "tie_word_embeddings": False,
    },
    "deep": {
        "hidden_size": 256,
        "intermediate_size": 1024,
        "num_hidden_layers": 16,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "vocab_size": 32_000,
        "tie_word_embeddings": True,
    },
}
METHODS, STAGES = ("lora", "qlora", "full"), ("pretrain", "sft", "dpo", "reward")
# Each method with each stage and both ways to keep activations; sizes and windows take turns. A
# third of them tell the same and take two minutes; ATHANOR_WHOLE_MATRIX=1 measures all.
MATRIX = [
    (method, stage, recompute, ("wide", "deep")[(m + s + r) % 2], (512, 1024)[(m + r) % 2], "")
    for m, method in enumerate(METHODS)
    for s, stage in enumerate(STAGES)
    for r, recompute in enumerate(("none", "full"))
    if (m + s + r) % 3 == 0 or os.environ.get("ATHANOR_WHOLE_MATRIX")
]
# What else changes the memory, by what it changes of a spec; two processes count together.
MORE = {
    "": lambda window: {},
    "adamw8bit": lambda window: {"optimizer": "adamw8bit"},
    "muon": lambda window: {"optimizer": "muon"},
    "twice": lambda window: {"micro_batch_tokens": 2 * window, "tokens_per_step": 2 * window},
    "halves": lambda window: {"tokens_per_step": 2 * window},
    "replicas": lambda window: {"parallel": {"replicas": 2}, "tokens_per_step": 2 * window},
    "shards": lambda window: {"parallel": {"shards": 2}, "tokens_per_step": 2 * window},
    "tensor": lambda window: {"parallel": {"tensor": 2}},
    "pipeline": lambda window: {"parallel": {"pipeline": 2}, "tokens_per_step": 2 * window},
}
ALWAYS = [
    ("full", "sft", "none", "wide", 512, "adamw8bit"),
    ("full", "pretrain", "none", "deep", 512, "muon"),
    ("lora", "sft", "none", "wide", 512, "twice"),
    ("full", "sft", "none", "wide", 512, "shards"),
]
AT_TIMES = [
    ("full", "dpo", "full", "deep", 1024, "adamw8bit"),
    ("full", "sft", "none", "wide", 1024, "muon"),
    ("full", "sft", "none", "deep", 512, "twice"),
    ("qlora", "sft", "full", "deep", 512, "twice"),
    ("lora", "pretrain", "none", "wide", 512, "halves"),
    ("lora", "sft", "none", "deep", 512, "replicas"),
    ("full", "sft", "none", "wide", 512, "replicas"),
    ("lora", "pretrain", "none", "wide", 1024, "shards"),
    ("full", "sft", "none", "deep", 512, "shards"),
    ("full", "pretrain", "none", "wide", 512, "tensor"),
    ("full", "sft", "none", "wide", 512, "pipeline"),
]
MATRIX += ALWAYS + (AT_TIMES if os.environ.get("ATHANOR_WHOLE_MATRIX") else [])
KEPT = ("full", "pretrain", "none", "wide", 512, "")
"""Once more, with a checkpoint that is written while the second step goes on."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Each case's peak, and its facts, two at a time; a case that fails keeps what it said."""
    root = tmp_path_factory.mktemp("memory")
    for name, shape in ({"tiny": {}} | SIZES).items():
        save_tiny(root / name, max_position_embeddings=2048, **shape)
        model = AutoModelForCausalLM.from_pretrained(root / name, dtype=torch.bfloat16)
        model.save_pretrained(root / name)  # as most are published
    cases = [(case, 99) for case in dict.fromkeys((*MATRIX, KEPT))] + [(KEPT, 1)]
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(cases, pool.map(lambda case: measure(root, *case), cases), strict=True))


def measure(root, case, save_every):
    method, stage, recompute, size, window, more = case
    folder = root / "-".join(map(str, (*case, save_every)))
    folder.mkdir()
    write_rows(folder / "rows.jsonl", stage, window=window)
    spec = {
        "model": str(root / size),
        "dataset": str(folder / "rows.jsonl"),
        "stage": stage,
        "method": method,
        "activation_checkpointing": recompute,
        "max_steps": 2,
        "num_epochs": 9,
        "tokens_per_step": window,
        "micro_batch_tokens": window,
        "max_length": window,
        "eval_fraction": 0,
        "save_every_steps": save_every,
        "learning_rate": 1e-4,
    }
    spec = TrainSpec.model_validate(spec | MORE[more](window))
    found = run_case(root, folder, spec)
    shape = ModelShape.from_config(json.loads((root / size / "config.json").read_text()))
    facts = DataFacts(longest_tokens=window, **found[0]["facts"])
    return Measured(
        spec=spec,
        shape=shape,
        facts=facts,
        peak=sum(one["peak"] for one in found),
        rise=sum(one["peak"] - one["before"] for one in found),
    )


@dataclass(frozen=True)
class Measured:
    """What the processes of a case held in all, and what of it its model brought."""

    spec: TrainSpec
    shape: ModelShape
    facts: DataFacts
    peak: int
    rise: int


def run_case(root, folder, spec):
    """Return what each process of a case found."""
    num_ranks = spec.parallel.num_processes
    environment = {"MASTER_ADDR": "127.0.0.1", "WORLD_SIZE": str(num_ranks)}
    case = {
        "spec": spec.model_dump(mode="json"),
        "tiny": str(root / "tiny"),
        "ports": [find_port(), find_port()],
        "environment": environment if num_ranks > 1 else {},
    }
    (folder / "case.json").write_text(json.dumps(case))
    logs = [folder / f"rank-{rank}.log" for rank in range(num_ranks)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.engine.memory_case", str(folder), str(rank)],
            stdout=log.open("wb"),
            stderr=subprocess.STDOUT,
        )
        for rank, log in enumerate(logs)
    ]
    try:
        ends = [process.wait(600) for process in running]
    finally:
        for process in running:
            process.kill()
    for log, end in zip(logs, ends, strict=True):
        assert end == 0, log.read_text()[-3000:]
    return [json.loads((folder / f"found-{rank}.json").read_text()) for rank in range(num_ranks)]


def find_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def assert_predicted(found, *, own_to):
    has_bf16 = has_fast_bf16(torch.device("cpu"))
    machine = Machine(num_cores=1, memory_bytes=16 * GIB, has_bf16=has_bf16)
    told = estimate_train(found.spec, found.shape, found.facts, machine)
    assert told.peak_memory_bytes == pytest.approx(found.peak, rel=0.15), told.memory_parts
    # Without what an empty process takes: the training's own part.
    own = told.peak_memory_bytes - told.memory_parts["process"]
    assert own == pytest.approx(found.rise, rel=own_to), told.memory_parts


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", MATRIX, ids=lambda case: "-".join(map(str, case)))
def test_the_predicted_peak_is_the_measured_one_to_15_percent(measured, case):
    # Small parts of a small rise were not looked at one by one where nothing else is changed.
    assert_predicted(measured[case, 99], own_to=0.15 if case[-1] else 0.6)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_checkpoint_that_is_being_written_is_predicted_too(measured):
    assert_predicted(measured[KEPT, 1], own_to=0.6)
    assert measured[KEPT, 1].peak > measured[KEPT, 99].peak
