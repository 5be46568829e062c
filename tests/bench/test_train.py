"""The training benches, on tiny models: arms take the same steps, and what differs is found out."""

import json
from dataclasses import asdict
from itertools import pairwise

import pytest
import torch
from transformers import DataCollatorForSeq2Seq

from bench import train_gpu
from bench.random_models import make_folder
from bench.train import compare_all, tell_unlike
from bench.train_gpu_arms import ARMS, LADDER, Arm, Load, WholeLoss, make_rung, make_task, run
from bench.train_peers import CountedCollator
from bench.train_task import StepClock, draw_groups
from engine.data.batch import collate
from engine.emitter import Emitter
from engine.train.stages import Stage

LOAD = Load(size=2, num=2, num_steps=3, max_length=64, micro_tokens=96, is_cpu=True)
TOLD = {"step_tokens": [9, 8], "step_supervised": [4, 3], "eval_loss": 2.0, "tokens_per_s": 10.0}


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def data(parent):
    path = parent / "rows.jsonl"
    rows = [("ask " * (1 + index % 3), "say " * (1 + index % 5)) for index in range(24)]
    turns = [[{"role": "user", "content": q}, {"role": "assistant", "content": a}] for q, a in rows]
    path.write_text("".join(json.dumps({"messages": each}) + "\n" for each in turns))
    return path


@pytest.fixture
def task(parent, data):
    return make_task(ARMS["lora"], make_folder(parent, "tiny", "llama"), data, LOAD)


def make_training(task, arm, folder):
    return task.make_training(folder, Emitter(), make_rung(arm, task, task.load_ours(), task.spec))


def test_samples_are_shared_out_once_by_chance():
    groups = draw_groups(11, 3, seed=17)
    drawn = [index for group in groups for index in group]
    assert [len(group) for group in groups] == [3, 3, 3] and len(set(drawn)) == 9
    assert drawn != sorted(drawn) and groups == draw_groups(11, 3, seed=17)
    assert groups != draw_groups(11, 3, seed=18)


def test_our_steps_are_the_given_ones_in_our_own_rows(task, tmp_path):
    training = make_training(task, ARMS["lora"], tmp_path)
    steps = [step for _, _, step in training.steps_from(0)]
    assert len(steps) == LOAD.num_steps < len(task.groups)
    for step, group in zip(steps, task.groups, strict=False):
        assert sorted(index for micro in step for index in micro) == sorted(group)
        for micro in step:
            own = sum(training.lengths[index] for index in micro)
            assert own <= training.budget.micro_tokens
    assert any(len(micro) > 1 for step in steps for micro in step)
    assert any(len(step) > 1 for step in steps)


def test_a_collator_s_tokens_and_targets_are_counted_without_padding(task):
    collator = CountedCollator(DataCollatorForSeq2Seq(task.tokenizer))
    (first, second), *rest = [task.steps[0][at : at + 2] for at in (0, 2)]
    for samples in ((first, second), *rest):
        collator([{"input_ids": list(s.ids), "labels": list(s.labels)} for s in samples])
    clock = StepClock()
    collator.tell(clock, 2)
    assert clock.tokens == [sum(len(sample.ids) for sample in task.steps[0])]
    assert clock.supervised == [sum(sample.num_supervised for sample in task.steps[0])]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({}, ""),
        ({"eval_loss": 2.05}, ""),
        ({"eval_loss": 1.95}, ""),
        ({"eval_loss": 2.07}, "eval_loss"),
        ({"eval_loss": 1.93}, "eval_loss"),
        ({"eval_loss": float("nan")}, "eval_loss"),
        ({"step_supervised": [3, 4]}, "step_supervised"),
        ({"step_tokens": [9]}, "step_tokens"),
    ],
)
def test_arms_that_did_not_do_the_same_have_no_ratio(changes, word):
    found = {("m", "lora"): [TOLD | changes], ("m", "peer"): [TOLD | {"tokens_per_s": 4.0}]}
    assert tell_unlike(found["m", "lora"], found["m", "peer"]).partition(":")[0] == word
    unlike = {}
    ratios = compare_all(found, ["m"], {"r": ("tokens_per_s", "lora", "peer")}, unlike)
    assert ratios == {"r": None if word else 2.5}
    assert list(unlike) == (["r"] if word else [])


@pytest.mark.parametrize(
    ("start", "ends", "is_like"),
    [(11.0, (10.0, 10.05), True), (11.0, (10.0, 10.2), False), (11.0, (11.0, 11.0), False)],
)
def test_losses_have_to_fall_and_alike(start, ends, is_like):
    ours, theirs = ([{"start_loss": start, "eval_loss": end}] for end in ends)
    assert (train_gpu.tell_unlike_falls(ours, theirs) == "") is is_like


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_no_model_of_7_billion_weights_is_made(parent, capsys):
    with pytest.raises(SystemExit):
        train_gpu.main(["--folder", str(parent)])
    assert "--tiny" in capsys.readouterr().err
    assert not list(parent.glob("*7b*"))


def test_each_rung_of_the_ladder_has_one_thing_more():
    for (_, before), (name, rung) in pairwise(LADDER.items()):
        first, second = asdict(before), asdict(rung)
        changed = {key for key in first if key != "changes" and first[key] != second[key]}
        settings = {"activation_checkpointing": "none", "compile": False, "precision": "bf16"}
        first, second = (settings | told["changes"] for told in (first, second))
        changed |= {key for key in settings if first[key] != second[key]}
        assert len(changed) == 1, name
    assert ARMS["lora"] == Arm("lora")


def test_the_whole_loss_is_the_one_in_blocks(task, tmp_path):
    training = make_training(task, ARMS["lora"], tmp_path)
    found = []
    for stage in (Stage(), WholeLoss()):
        trainee = training.trainee
        trainee.stage = stage
        trainee.zero_grad()
        batch = collate(task.steps[0], task.device, shared=training.shared)
        total = training.pipeline.learn([batch], 1.0)
        found.append((total, [parameter.grad.clone() for parameter in training.parameters]))
    (blocks, ours), (whole, plain) = found
    assert blocks == pytest.approx(whole, rel=1e-2)
    assert any(grad.abs().max() > 0 for grad in ours)
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.02 * float(one.abs().max() + 1e-6))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_arm_takes_the_same_steps_and_learns_alike(parent, data):
    folder = make_folder(parent, "tiny", "llama")
    names = ("lora", "lora-alone", "lora-trainer", "lora-trl")
    told = {name: run(ARMS[name], folder, data, LOAD) for name in names}
    wanted = told["lora"]
    for each in told.values():
        assert each["step_tokens"] == wanted["step_tokens"]
        assert each["step_supervised"] == wanted["step_supervised"]
        assert each["eval_loss"] == pytest.approx(wanted["eval_loss"], rel=0.01)
        assert each["tflops"] > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_bench_of_a_gpu_is_tried_on_a_processor(parent, capsys):
    arms = "lora,lora-trainer,lora-trl-liger,lora-fp8,qlora,pretrain,pretrain-trainer"
    train_gpu.main(["--tiny", "--rounds", "1", "--folder", str(parent), "--arms", arms])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["unlike"] == {}
    assert set(told["ratios"]) == {"lora_vs_trainer", "memory_vs_trainer", "pretrain_vs_trainer"}
    assert set(told["left_out"]) == {"lora-trl-liger", "lora-fp8"}
    assert "GPU" in told["left_out"]["lora-fp8"]
    assert set(told["figures"]) == {"lora", "lora-trainer", "qlora", "pretrain", "pretrain-trainer"}
