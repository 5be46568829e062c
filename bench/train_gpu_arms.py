"""One arm of `bench/train_gpu.py`, one round, in a process of its own: prints one line of JSON.

    python -m bench.train_gpu_arms ARM FOLDER DATA LOAD

LOAD is the JSON of a `Load`. An arm that cannot run here ends with one sentence on why.
"""

import importlib.util
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from engine.runtime import prepare_process

if __name__ == "__main__":
    prepare_process(0)

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.train_peers import run_trainer, run_trl
from bench.train_task import Batches, StepClock, Task, run_ours
from engine.data.batch import Batch
from engine.errors import EngineError
from engine.models.decoder import head_weight
from engine.models.float8 import require_fp8
from engine.specs import TrainSpec
from engine.specs.flops import StepWork, count_flops
from engine.specs.parallel import ParallelOptions
from engine.specs.shape import ModelShape
from engine.train.mesh import Mesh
from engine.train.prepare import make_trainee
from engine.train.roofline import measure_roofline
from engine.train.stages import Stage, Sums
from engine.train.trainee import Trainee

_FLASH, _PLAIN = 32, 16
"""Samples in a row of trl: without flash attention each row has a mask of its length squared."""


@dataclass(frozen=True)
class Load:
    """What an arm is given to do."""

    size: int
    num: int
    """A step's batches, of so many samples."""
    num_steps: int
    max_length: int
    micro_tokens: int
    """What our arms hold at once."""
    is_cpu: bool = False


@dataclass(frozen=True)
class Arm:
    """What is trained, by whom, and which of our tricks are on."""

    method: str
    layout: str = "llama"
    """The adapter is the same for all only where they adapt the same layers."""
    by: str = "ours"
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the spec that are not the usual ones."""
    packs: bool = True
    """Samples side by side in a row; else each goes through the model alone."""
    blocks: bool = True
    """The loss of supervised positions, in blocks; else logits of all positions at once."""
    fuses: bool = True
    """An adapter as one step of the graph with its layer; else peft's own layer."""


_FULL, _HALF = ({"activation_checkpointing": which} for which in ("full", "selective"))
LADDER = {
    "lora-alone": Arm("lora", changes=_FULL, packs=False, blocks=False, fuses=False),
    "lora-packed": Arm("lora", changes=_FULL, blocks=False, fuses=False),
    "lora-blocks": Arm("lora", changes=_FULL, fuses=False),
    "lora-fused": Arm("lora", changes=_FULL),
    "lora-selective": Arm("lora", changes=_HALF),
    "lora": Arm("lora"),
    "lora-compiled": Arm("lora", changes={"compile": True}),
    "lora-fp8": Arm("lora", changes={"compile": True, "precision": "fp8"}),
}
"""Each rung has all that the one before has, and one thing more."""
ARMS = LADDER | {
    "lora-internlm2": Arm("lora", layout="internlm2"),
    "lora-trainer": Arm("lora", by="trainer"),
    "lora-trl": Arm("lora", by="trl"),
    "lora-trl-liger": Arm("lora", by="trl-liger"),
    "qlora": Arm("qlora", layout="internlm2", changes=_FULL),
    "pretrain": Arm("full", layout="internlm2"),
    "pretrain-compiled": Arm("full", layout="internlm2", changes={"compile": True}),
    "pretrain-fp8": Arm("full", layout="internlm2", changes={"compile": True, "precision": "fp8"}),
    "pretrain-trainer": Arm("full", by="trainer"),
}
_RATES = {"lora": 5e-4, "qlora": 5e-4, "full": 2e-4}


def main() -> None:
    name, folder, data, text = sys.argv[1:5]
    load = Load(**json.loads(text))
    try:
        print(json.dumps(run(ARMS[name], Path(folder), Path(data), load)), flush=True)
    except EngineError as error:
        raise SystemExit(str(error)) from error
    except torch.OutOfMemoryError as error:
        raise SystemExit(str(error).splitlines()[0]) from error


def run(arm: Arm, folder: Path, data: Path, load: Load) -> dict[str, Any]:
    """Train as an arm does; return what was measured."""
    task = make_task(arm, folder, data, load)
    if task.spec.precision == "fp8":
        require_fp8(task.device)
    clock, base = StepClock(), load_model(arm, task)
    start_loss = task.measure(base)
    if task.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as run_dir:
        trained = train(arm, task, clock, Path(run_dir), base)
    peak = task.read_peak()
    flops = count_step_flops(task, trained)
    mesh = Mesh(ParallelOptions(), task.device)
    return {
        "tokens_per_s": clock.per_second(clock.tokens),
        "supervised_tokens_per_s": clock.per_second(clock.supervised),
        "tflops": clock.per_second(flops) / 1e12,
        "roofline_tflops": measure_roofline(mesh, torch.bfloat16) / 1e12,
        "peak_gib": peak / 2**30,
        "start_loss": start_loss,
        "eval_loss": task.measure(trained),
        "step_tokens": clock.tokens,
        "step_supervised": clock.supervised,
        "device": torch.cuda.get_device_name() if task.device.type == "cuda" else "cpu",
        "attention": find_attention() if arm.by.startswith("trl") else "",
        "load": asdict(load),
    }


def make_task(arm: Arm, folder: Path, data: Path, load: Load) -> Task:
    spec = TrainSpec(
        model=str(folder.resolve()),
        dataset=str(data.resolve()),
        stage="pretrain" if arm.method == "full" else "sft",
        method=arm.method,
        max_steps=load.num_steps,
        max_length=load.max_length,
        micro_batch_tokens=load.micro_tokens,
        tokens_per_step=load.size * load.num * load.max_length,
        learning_rate=_RATES[arm.method],
        schedule="constant",  # libraries count the steps of a warm-up differently
        warmup_ratio=0,
        eval_every_steps=10**6,
        save_every_steps=10**6,
        **arm.changes,
    )
    return Task(spec, Batches(load.size, load.num), is_cpu=load.is_cpu)


def load_model(arm: Arm, task: Task) -> Any:
    """Load the base: a peer's in bfloat16 under an adapter, in float32 where all is trained."""
    if arm.by == "ours":
        return task.load_ours()
    dtype = torch.float32 if task.is_full else torch.bfloat16
    attention = find_attention() if arm.by.startswith("trl") else "sdpa"
    return task.load_theirs(dtype, attn_implementation=attention)


def train(arm: Arm, task: Task, clock: StepClock, run_dir: Path, base: Any) -> Any:
    if arm.by == "ours":
        return run_ours(task, clock, run_dir, partial(make_rung, arm, task), base)
    model = task.adapt(base)
    if arm.by == "trainer":
        return run_trainer(task, clock, run_dir, model, bf16=True)
    has_liger = arm.by == "trl-liger"
    if has_liger and not is_here("liger_kernel"):
        raise SystemExit("liger-kernel is not installed: pip install liger-kernel")
    whole = task.batches.per_step
    size = min(whole, _FLASH if find_attention() == "flash_attention_2" else _PLAIN)
    return run_trl(task, clock, run_dir, model, Batches(size, whole // size), liger=has_liger)


def make_rung(arm: Arm, task: Task, base: Any, spec: TrainSpec) -> Trainee:
    """Make what is trained, with the tricks of a rung."""
    if arm.fuses:
        trainee = make_trainee(base, spec)
    else:
        dtype = head_weight(base).dtype
        trainee = Trainee(task.adapt(base), dtype)
    trainee.packs_rows = arm.packs
    if not arm.blocks:
        trainee.stage = WholeLoss()
    return trainee


class WholeLoss(Stage):
    """The same loss as models compute it: logits of all positions, in float32."""

    def sum_up(self, hidden_TE: Tensor, head_VE: Tensor, batch: Batch) -> Sums:
        assert batch.weight_S is None, "the rows of a bench weigh the same"
        logits_SV = (hidden_TE @ head_VE.T).float()[batch.source_S]
        loss = F.cross_entropy(logits_SV, batch.target_S, reduction="sum")
        right = (logits_SV.argmax(1) == batch.target_S).sum().float()
        return Sums(loss, right[None])


def count_step_flops(task: Task, trained: Any) -> list[float]:
    """Return the operations that each step asks for: of the samples' own tokens, none twice.

    They are the same for all arms of a layout: neither padding nor recomputation counts.
    """
    config = json.loads((Path(task.spec.model) / "config.json").read_text())
    shape = ModelShape.from_config(config)
    num_adapter = sum(p.numel() for name, p in trained.named_parameters() if "lora_" in name)
    return [
        count_flops(
            task.spec,
            shape,
            StepWork(
                num_tokens=sum(len(sample.ids) for sample in step),
                num_attended=sum(len(s.ids) * (len(s.ids) + 1) // 2 for s in step),
                num_supervised=sum(sample.num_supervised for sample in step),
            ),
            num_adapter_params=num_adapter,
        ).model
        for step in task.steps
    ]


def find_attention() -> str:
    """Return what keeps samples of a row apart for peers: the fastest that is installed."""
    return "flash_attention_2" if is_here("flash_attn") else "sdpa"


def is_here(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


if __name__ == "__main__":
    main()
