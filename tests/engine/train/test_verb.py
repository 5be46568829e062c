"""The train verb, from files to files: every stage and method leaves what others can load."""

import json
import math
import signal
import subprocess
import sys
import time

import psutil
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.launch import make_run_dir
from engine.models.merge import merge_adapter
from engine.models.tiny import make_model, save_tiny
from engine.specs import Placement, TrainSpec
from engine.status import Reason
from engine.stopping import StopGate
from engine.train.checkpoint import list_checkpoints
from engine.train.run import train

ROWS = {
    "sft": lambda n: {
        "messages": [
            {"role": "user", "content": f"{n}?"},
            {"role": "assistant", "content": "aye " * (1 + n % 3)},
        ]
    },
    "pretrain": lambda n: {"text": f"{n} bottles stand on the wall. " * (1 + n % 4)},
    "pairs": lambda n: {"prompt": f"{n}?", "chosen": "aye aye", "rejected": "no " * (1 + n % 3)},
}


@pytest.fixture
def work(tmp_path):
    """A folder with a tiny model and a dataset of each sort."""
    save_tiny(tmp_path / "model", initializer_range=0.3)
    for name, make in ROWS.items():
        lines = [json.dumps(make(n)) for n in range(24)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    return tmp_path


def make_spec(work, **changes):
    wanted = {
        "model": str(work / "model"),
        "dataset": str(work / "sft.jsonl"),
        "num_epochs": 20,
        "max_steps": 12,
        "learning_rate": 1e-2,
        "tokens_per_step": 512,
        "micro_batch_tokens": 256,
        "max_length": 128,
        "eval_every_steps": 6,
        "save_every_steps": 5,
        "precision": "fp32",
        "lora": {"rank": 4, "alpha": 8},
    }
    return TrainSpec.model_validate(wanted | changes)


def run(work, **changes):
    run_dir = work / "run"
    run_dir.mkdir()
    seen = []
    train(make_spec(work, **changes), Placement(run_dir=run_dir), Emitter(seen.append), StopGate())
    return run_dir / "out", seen


def get_losses(seen):
    return [e.values["loss"] for e in seen if e.type == "metric" and "loss" in e.values]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lora": {"rank": 4, "alpha": 8, "variant": "dora"}},
        {"lora": {"rank": 4, "alpha": 8, "variant": "rslora", "rate_ratio": 4}},
        {"lora": {"rank": 4, "alpha": 8, "train_embeddings": True}},
        {"method": "qlora"},
        {"stage": "pretrain", "dataset": "pretrain"},
        {"stage": "dpo", "dataset": "pairs"},
    ],
    ids=["lora", "dora", "rslora", "embeddings", "qlora", "pretrain", "dpo"],
)
def test_an_adapter_that_peft_loads(work, changes):
    if "dataset" in changes:
        changes = changes | {"dataset": str(work / f"{changes['dataset']}.jsonl")}
    out, seen = run(work, **changes)
    losses = get_losses(seen)
    assert losses[-1] < losses[0]
    loaded = PeftModel.from_pretrained(make_model(), out)
    assert any(p.abs().sum() for name, p in loaded.named_parameters() if "lora_B" in name)
    assert next(e for e in seen if e.type == "artifact" and e.name == "out").role == "adapter"


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_whole_model_that_transformers_loads(work, optimizer):
    out, seen = run(work, method="full", optimizer=optimizer, learning_rate=3e-3)
    assert get_losses(seen)[-1] < get_losses(seen)[0]
    model = AutoModelForCausalLM.from_pretrained(out)
    tokenizer = AutoTokenizer.from_pretrained(out)
    before = make_model(initializer_range=0.3).state_dict()
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert not torch.equal(after["model.norm.weight"], before["model.norm.weight"])
    ids = tokenizer("a", return_tensors="pt").input_ids
    assert model.generate(ids, max_new_tokens=2).shape[1] == ids.shape[1] + 2
    assert next(e for e in seen if e.type == "artifact" and e.name == "out").role == "model"
    card = (out / "README.md").read_text()
    assert "library_name: transformers" in card and "LoRA adapter" not in card


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_reward_model_scores_the_better_answer_higher(work, method):
    changes = {"stage": "reward", "method": method, "dataset": str(work / "pairs.jsonl")}
    out, seen = run(work, **changes, max_steps=30, learning_rate=3e-3)
    # Scores of 0 cost log 2 and the walls' least, 0.02 x -2 log 5.
    assert get_losses(seen)[0] == pytest.approx(math.log(2) - 0.04 * math.log(5), rel=1e-4)
    assert get_losses(seen)[-1] < 0
    if method == "full":
        model = AutoModelForSequenceClassification.from_pretrained(out)
    else:
        base = AutoModelForSequenceClassification.from_pretrained(work / "model", num_labels=1)
        model = PeftModel.from_pretrained(base, out)
    tokenizer = AutoTokenizer.from_pretrained(work / "model")

    def score(answer):
        talk = [{"role": "user", "content": "99?"}, {"role": "assistant", "content": answer}]
        text = tokenizer.apply_chat_template(talk, tokenize=False)
        ids = tokenizer(text, return_tensors="pt", add_special_tokens=False).input_ids
        with torch.no_grad():
            return float(model.eval()(input_ids=ids).logits)

    assert score("aye aye") > score("no no ")


@pytest.mark.parametrize("stage", ["sft", "pretrain", "dpo", "reward"])
def test_a_merged_adapter_is_the_model_that_was_trained(work, stage):
    data = {"dpo": "pairs", "reward": "pairs"}.get(stage, stage)
    changes = {"stage": stage, "dataset": str(work / f"{data}.jsonl")}
    out, seen = run(work, **changes)
    merge_adapter(work / "model", out, work / "merged")
    is_reward = stage == "reward"
    kind = AutoModelForSequenceClassification if is_reward else AutoModelForCausalLM
    options = {"num_labels": 1} if is_reward else {}
    ids = torch.arange(4, 60)[None]

    def answer(model):
        with torch.no_grad():
            return model.eval()(input_ids=ids).logits

    want = answer(PeftModel.from_pretrained(kind.from_pretrained(work / "model", **options), out))
    got = answer(kind.from_pretrained(work / "merged"))
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5 * float(want.abs().max()))
    if stage in ("dpo", "reward"):  # whose evaluation is of what a training adds to its base
        return
    assert (want - answer(kind.from_pretrained(work / "model"))).abs().max() > 0.1
    untouched = {"model": str(work / "merged"), "max_steps": 1, "learning_rate": 1e-12}
    (work / "run").rename(work / "first")
    _, again = run(work, **changes | untouched)
    assert get_evaluation(again) == pytest.approx(get_evaluation(seen), rel=1e-5)


def get_evaluation(seen):
    return [e.values["eval_loss"] for e in seen if e.type == "metric" and "eval_loss" in e.values][
        -1
    ]


def test_samples_are_written_where_nothing_is_held_out(work):
    _, seen = run(work, eval_fraction=0, sample_prompts=("1?",))
    assert [(e.step, e.prompt) for e in seen if e.type == "sample"] == [(6, "1?"), (12, "1?")]
    assert not any("eval_loss" in e.values for e in seen if e.type == "metric")


def test_a_model_that_is_computed_in_bfloat16_is_written_so(work):
    out, _ = run(work, method="full", precision="bf16")
    kept = list_checkpoints(out.parent)[-1]
    for folder, dtype in ((out, torch.bfloat16), (kept, torch.float32)):
        assert {value.dtype for value in load_file(folder / "model.safetensors").values()} == {
            dtype
        }
        assert AutoModelForCausalLM.from_pretrained(folder).dtype == dtype


def test_a_checkpoint_of_a_whole_model_is_one_that_loads(work):
    out, _ = run(work, method="full")
    kept = list_checkpoints(out.parent)[-1]
    assert (
        load_file(kept / "model.safetensors").keys() == load_file(out / "model.safetensors").keys()
    )
    AutoModelForCausalLM.from_pretrained(kept)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"stage": "dpo"}, "has none: bring rows with prompt, chosen and rejected"),
        ({"dataset": "pairs"}, "it holds preference pairs"),
        ({"parallel": {"shards": 2}}, "asks for 2 processes and there are 1"),
    ],
)
def test_what_does_not_fit_is_refused(work, changes, told):
    if "dataset" in changes:
        changes = {"dataset": str(work / "pairs.jsonl")}
    with pytest.raises(EngineError, match=told) as caught:
        run(work, **changes)
    assert caught.value.reason in (Reason.BAD_DATA, Reason.BAD_SPEC)


def test_a_mixture_sees_each_source_as_often_as_it_weighs(work):
    mixture = [{"repo": str(work / "pretrain.jsonl"), "weight": 0.5}]
    out, seen = run(work, mixture=mixture)
    made = json.loads((out / "athanor.json").read_text())
    assert made["dataset"]["num_rows"] == 48
    assert get_losses(seen)[-1] < get_losses(seen)[0]


@pytest.mark.slow
def test_processes_of_one_run_are_started_and_ended_with_it(work):
    """From the command line, on two; a stop keeps a checkpoint, which is no other spec's."""
    spec = make_spec(work, method="full", max_steps=4000, parallel={"shards": 2})
    (work / "spec.json").write_text(spec.model_dump_json())
    command = [sys.executable, "-m", "engine", "train", str(work / "spec.json"), "--threads", "2"]
    with subprocess.Popen(
        [*command, "--run-dir", str(work / "two")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as going:  # fmt: skip
        said = []
        for line in going.stdout:
            said.append(line)
            if "step 7/" in line:
                going.send_signal(signal.SIGINT)
                break
        said += going.communicate(timeout=120)[0].splitlines()
    kept = list_checkpoints(work / "two")
    assert kept, said
    events = [json.loads(line) for line in (work / "two/events.jsonl").read_text().splitlines()]
    assert events[-1]["status"] == "stopped", said
    last = int(kept[-1].name.removeprefix("step-"))
    rest = [
        *command, "--run-dir", str(work / "one"), "--resume", str(kept[-1]),
        "--set", f"max_steps={last + 3}", "--set", "parallel.shards=1",
    ]  # fmt: skip
    done = subprocess.run(rest, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0 and "another spec" in done.stdout + done.stderr


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_run_at_once_and_is_named(work):
    spec = make_spec(work, method="full", max_steps=4000, parallel={"pipeline": 2})
    (work / "spec.json").write_text(spec.model_dump_json())
    command = [sys.executable, "-m", "engine", "train", str(work / "spec.json"), "--threads", "2"]
    with subprocess.Popen(
        [*command, "--run-dir", str(work / "run")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as going:  # fmt: skip
        for line in going.stdout:
            if "step 5/" in line:
                break
        other = find_rank(going.pid, "1")
        other.kill()
        killed_at = time.monotonic()
        going.communicate(timeout=60)
        assert time.monotonic() - killed_at < 15
    ending = json.loads((work / "run/events.jsonl").read_text().splitlines()[-1])
    assert ending["reason"] == "killed"
    assert "Process 1 of the run was ended by SIGKILL" in ending["message"]
    assert not other.is_running()


@pytest.mark.slow
def test_processes_that_torchrun_starts_anew_go_on_from_the_last_checkpoint(work):
    """The spec asks for one process and torchrun brings two: the numbers are the unbroken run's."""
    changes = {"max_steps": 40, "save_every_steps": 2}
    out, seen = run(work, **changes)
    wanted = get_losses(seen)
    placement = Placement(run_dir=work / "two", num_threads=2)
    make_run_dir(make_spec(work, **changes), placement)
    said, resumed = [], None
    command = ["--standalone", "--nproc-per-node=2", "--max-restarts=1", "--monitor-interval=0.1"]
    with subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *command,
         "-m", "engine", "work", str(work / "two")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as going:  # fmt: skip
        try:
            for line in going.stdout:
                said.append(line)
                if "loading libraries" in line:
                    other = find_rank(going.pid, "1")
                if "step 6/" in line and not resumed:  # step 4's is begun, so step 2's is there
                    other.kill()
                if line.startswith("Going on from step"):
                    resumed = int(line.split()[-1].rstrip("."))
                    said.clear()
            assert going.wait(120) == 0, said
        finally:
            if going.poll() is None:
                for child in psutil.Process(going.pid).children(recursive=True):
                    child.kill()
                going.kill()
    assert resumed, said
    found = [float(line.split()[3]) for line in said if line.startswith("step ") and "loss" in line
             and "evaluation" not in line]  # fmt: skip
    assert found == pytest.approx(wanted[resumed:], abs=2e-4)
    for name, value in load_file(work / "two/out/adapter_model.safetensors").items():
        torch.testing.assert_close(
            value, load_file(out / "adapter_model.safetensors")[name], rtol=1e-3, atol=1e-5
        )


def find_rank(pid, rank):
    """Return the process of a rank, among those that one has started."""
    children = psutil.Process(pid).children(recursive=True)
    return next(child for child in children if child.environ().get("RANK") == rank)
