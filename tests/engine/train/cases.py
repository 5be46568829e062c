"""One small training in many guises, on one process or several: what equivalence tests compare.

As a program, `python -m tests.engine.train.cases CASES.json OUT.json`, it is one rank of several.
"""

import json
import math
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from transformers import AutoModelForCausalLM, Gemma2Config, Qwen3Config

from engine.data.render import Renderer
from engine.data.samples import Rendered, RenderedPair, Sample
from engine.emitter import Emitter
from engine.errors import EngineError
from engine.models.nf4 import quantize_base
from engine.models.tiny import make_family, make_model, make_tokenizer
from engine.specs import TrainSpec
from engine.stopping import StopGate
from engine.train.attention import PACKED
from engine.train.checkpoint import take_snapshot
from engine.train.loop import Training, train_loop
from engine.train.mesh import open_mesh
from engine.train.prepare import make_trainee, ready
from engine.train.sample import write_greedily

PLAIN: dict[str, Any] = {
    "model": "./m",
    "dataset": "./d",
    "num_epochs": 3,
    "max_steps": 5,
    "learning_rate": 1e-2,
    "tokens_per_step": 256,
    "micro_batch_tokens": 128,
    "max_length": 64,
    "eval_fraction": 0.1,
    "eval_every_steps": 5,
    "save_every_steps": 2,
    "keep_checkpoints": 9,
    "precision": "fp32",
    "lora": {"rank": 4, "alpha": 8},
}


CAPPED = {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 8.0, "sliding_window": 16}
OTHERS: dict[str, Any] = {
    "qwen3": (Qwen3Config, {}),  # norms each head
    "gemma2": (Gemma2Config, CAPPED),  # of two layers the first has a window
}


def make_samples(stage: str, *, spoilt: int | None = None) -> list[Sample]:
    """Twenty samples of uneven length; in pretraining every token is learnt; or ten pairs.

    The one that is named as `spoilt` has a weight without end.
    """
    renderer = Renderer(make_tokenizer(), max_length=64)
    talks = [
        [
            {"role": "user", "content": f"{n}" * (1 + n % 5)},
            {"role": "assistant", "content": "No. " * (1 + n % 4)},
        ]
        for n in range(20)
    ]
    samples = [renderer.render(talk, row=row) for row, talk in enumerate(talks)]
    if spoilt is not None:
        weights = (math.inf,) * len(samples[spoilt].ids)
        samples[spoilt] = replace(samples[spoilt], weights=weights)
    if stage == "pretrain":
        samples = [Rendered(ids=s.ids, labels=s.ids, row=s.row) for s in samples]
    if stage in ("dpo", "reward"):
        return [make_pair(renderer, row) for row in range(20)]
    return list(samples)


def make_pair(renderer: Renderer, row: int) -> RenderedPair:
    """A question with a better and a worse answer, of uneven length."""
    asked = {"role": "user", "content": f"{row}" * (1 + row % 3)}
    answers = ("Yes. " * (1 + row % 2), "No. " * (1 + row % 3))
    sides = [
        renderer.render([asked, {"role": "assistant", "content": answer}], row=row)
        for answer in answers
    ]
    return RenderedPair(*sides)


def run_case(changes: dict[str, Any], run_dir: Path) -> dict[str, Any]:
    """Train and return losses, gradient norms, evaluation losses and a digest of the weights.

    With `is_unpacked` each sample is a micro-batch. With `asks` also what the model writes as it is
    evaluated. A row that is named as `spoilt` has an endless weight: the run fails, and `error` is
    what it says.
    """
    changes = dict(changes)
    own = ("resume_from", "asks", "spoilt", "is_unpacked")
    resume, asks, spoilt, is_unpacked = (changes.pop(name, None) for name in own)
    shape = {"seed": 3, "initializer_range": 0.3} | changes.pop("shape", {})
    spec = TrainSpec.model_validate(PLAIN | changes)
    torch.manual_seed(0)
    base = make_frozen(shape, spec)
    mesh = open_mesh(spec.parallel, torch.device("cpu"))
    seen, written = list[Any](), list[str]()

    def write(step: int) -> None:
        if asks:
            ids = renderer.render_opening("0 0", is_turn=spec.stage != "pretrain")
            written.append(write_greedily(training.trainee, renderer, ids, max_tokens=8))

    renderer = Renderer(make_tokenizer(), max_length=64)
    training = Training(
        spec=spec,
        trainee=ready(make_trainee(base, spec), spec, mesh),
        samples=make_samples(spec.stage, spoilt=spoilt),
        mesh=mesh,
        run_dir=run_dir,
        emitter=Emitter(seen.append),
        gate=StopGate(),
        resume_from=Path(resume) if resume else None,
        on_evaluated=write,
    )
    if is_unpacked:
        training.budget = replace(training.budget, micro_tokens=1)
    try:
        train_loop(training)
    except EngineError as error:
        return {"error": error.message, "step": training.at.step}
    kept = take_snapshot(training.trainee, training.optimizers, training.at, training.mesh)
    told = [event.values for event in seen if event.type == "metric"]
    return {
        **list_told(told, training.trainee.stage.measures),
        "weights": {name: digest(value) for name, value in kept.weights.items()},
        "held_bytes": measure_held(training.trainee),
        "written": written,
    }


def list_told(told: list[dict[str, float]], measures: tuple[str, ...]) -> dict[str, Any]:
    """Losses, gradient norms and measures of the steps, and those of the evaluations."""
    steps = [values for values in told if "loss" in values]
    evaluations = [values for values in told if "eval_loss" in values]
    return {
        "losses": [values["loss"] for values in steps],
        "norms": [values["grad_norm"] for values in steps],
        "eval": [values["eval_loss"] for values in evaluations],
        "measures": [{name: values[name] for name in measures} for values in steps],
        "eval_measures": [
            {name: values[f"eval_{name}"] for name in measures} for values in evaluations
        ],
    }


def make_frozen(shape: dict[str, Any], spec: TrainSpec) -> Any:
    """Wide weights: a random model's logits are too flat for an adapter to move."""
    base = make_base(shape)
    base.set_attn_implementation(PACKED)
    base.requires_grad_(False)
    if spec.precision == "bf16" and spec.method != "full":
        base = base.bfloat16()
    return quantize_base(base) if spec.method == "qlora" else base


def make_base(shape: dict[str, Any]) -> Any:
    """The tiny Llama, a model of ours, or one of `OTHERS`."""
    family = shape.get("family")
    if family is None:
        return make_model(**shape)
    if family not in OTHERS:
        return make_family(**shape)
    like = make_model().config.to_dict()
    sizes = {key: like[key] for key in ("vocab_size", "hidden_size", "intermediate_size")}
    sizes |= {key: like[key] for key in ("num_attention_heads", "num_key_value_heads", "head_dim")}
    torch.manual_seed(shape["seed"])
    width = shape["initializer_range"]
    make, more = OTHERS[family]
    config = make(**sizes, num_hidden_layers=2, initializer_range=width, **more)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def measure_held(model: torch.nn.Module) -> int:
    """The bytes of what this process has of the weights."""
    parts = [p.to_local() if isinstance(p, DTensor) else p for p in model.parameters()]
    return sum(part.numel() * part.element_size() for part in [*parts, *model.buffers()])


def digest(value: torch.Tensor) -> float:
    """A number that changes with each element, and with their order."""
    flat = value.double().flatten()
    return float((flat * torch.linspace(1, 2, flat.numel(), dtype=torch.float64)).norm())


def run_ranks(cases: dict[str, dict[str, Any]], num_ranks: int, folder: Path) -> dict[str, Any]:
    """Run cases, one after another, on processes of their own; return what the first found."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cases.json").write_text(json.dumps(cases))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    common = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    common |= {"WORLD_SIZE": str(num_ranks), "OMP_NUM_THREADS": "1"}
    logs = [folder / f"rank-{rank}.log" for rank in range(num_ranks)]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.engine.train.cases", str(folder)],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
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
        assert end == 0, log.read_text()[-6000:]
    return json.loads((folder / "found.json").read_text())


def main(folder: Path) -> None:
    """Be one rank: run the cases of a folder."""
    torch.set_num_threads(1)
    cases = json.loads((folder / "cases.json").read_text())
    found = {name: run_case(case, folder / name) for name, case in cases.items()}
    if os.environ["RANK"] == "0":
        (folder / "found.json").write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
