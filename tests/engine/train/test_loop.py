"""The loop on the tiny model: it learns, resumes exactly, keeps what a stop leaves."""

import json
import math
import shutil
import threading
import zipfile

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from engine.data.render import Renderer
from engine.emitter import Emitter
from engine.errors import EngineError, StopRequested
from engine.models.lora import add_adapter, list_trainable
from engine.models.tiny import make_model, make_tokenizer, save_tiny
from engine.specs import LoraOptions, Placement, TrainSpec
from engine.status import Reason
from engine.stopping import StopGate
from engine.train import checkpoint as checkpoint_module
from engine.train.attention import PACKED
from engine.train.checkpoint import list_checkpoints
from engine.train.loop import Training, train_loop
from engine.train.mesh import open_mesh
from engine.train.optim import get_learning_rate
from engine.train.prepare import make_trainee, ready
from engine.train.run import train


def make_spec(**changes):
    wanted = {
        "model": "./m",
        "dataset": "./d",
        "num_epochs": 3,
        "learning_rate": 1e-2,
        "tokens_per_step": 128,
        "micro_batch_tokens": 64,
        "max_length": 64,
        "eval_fraction": 0.1,
        "eval_every_steps": 4,
        "save_every_steps": 4,
        "precision": "fp32",
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.1},
    }
    return TrainSpec.model_validate({**wanted, **changes})


def make_training(run_dir, spec=None, *, events=None, gate=None, resume_from=None, device="cpu"):
    spec = spec or make_spec()
    torch.manual_seed(spec.seed)
    renderer = Renderer(make_tokenizer(), max_length=spec.max_length)
    talks = [
        [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": f"No. {n % 3}."}]
        for n in range(24)
    ]
    # Wide weights: a random model's logits are too flat for an adapter to move.
    base = make_model(seed=3, initializer_range=0.3)
    base.set_attn_implementation(PACKED)
    base.requires_grad_(False)
    mesh = open_mesh(spec.parallel, torch.device(device))
    return Training(
        spec=spec,
        trainee=ready(make_trainee(base.to(device), spec), spec, mesh),
        samples=[renderer.render(talk, row=row) for row, talk in enumerate(talks)],
        mesh=mesh,
        run_dir=run_dir,
        emitter=Emitter(events.append if events is not None else None),
        gate=gate or StopGate(),
        resume_from=resume_from,
    )


def get_losses(events):
    return {e.step: e.values["loss"] for e in events if e.type == "metric" and "loss" in e.values}


def test_it_learns_what_it_is_shown(tmp_path):
    events = []
    spec = make_spec(
        num_epochs=100,
        max_steps=40,
        eval_fraction=0,
        save_every_steps=99,
        lora={"rank": 8, "alpha": 16},
    )
    train_loop(make_training(tmp_path, spec, events=events))
    losses = list(get_losses(events).values())
    assert losses[-1] < 0.5 * losses[0]


NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


@pytest.mark.parametrize(
    ("device", "changes"),
    [
        ("cpu", {}),
        ("cpu", {"method": "full", "optimizer": "adamw8bit", "learning_rate": 1e-3}),
        pytest.param("cuda", {}, marks=[pytest.mark.gpu, NEEDS_GPU]),
    ],
)
def test_a_resumed_run_is_the_unbroken_run_bit_for_bit(tmp_path, device, changes):
    whole_events, rest_events, spec = [], [], make_spec(**changes)
    whole = make_training(tmp_path / "whole", spec, events=whole_events, device=device)
    train_loop(whole)
    checkpoint = list_checkpoints(tmp_path / "whole")[0]
    first = int(checkpoint.name.removeprefix("step-"))
    rest = make_training(
        tmp_path / "rest", spec, events=rest_events, resume_from=checkpoint, device=device
    )
    train_loop(rest)
    expected = {step: loss for step, loss in get_losses(whole_events).items() if step > first}
    assert expected
    assert get_losses(rest_events) == expected
    for got, want in zip(list_trainable(rest.trainee), list_trainable(whole.trainee), strict=True):
        assert torch.equal(got, want)


def test_the_same_spec_gives_the_same_losses(tmp_path):
    runs = []
    for name in ("one", "two"):
        events = []
        train_loop(make_training(tmp_path / name, events=events))
        runs.append(get_losses(events))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("micro", [64, 128])
def test_micro_batches_change_nothing_but_memory(tmp_path, micro):
    events = []
    spec = make_spec(micro_batch_tokens=micro, lora={"rank": 4, "alpha": 8}, max_steps=6)
    train_loop(make_training(tmp_path, spec, events=events))
    reference = []
    spec = make_spec(micro_batch_tokens=64, lora={"rank": 4, "alpha": 8}, max_steps=6)
    train_loop(make_training(tmp_path / "reference", spec, events=reference))
    assert get_losses(events) == pytest.approx(get_losses(reference), rel=1e-4)


class StopAtStep:
    """An event sink that asks for the stop as a step is reported."""

    def __init__(self, gate, step):
        self.gate, self.step = gate, step

    def __call__(self, event):
        if event.type == "metric" and event.step == self.step:
            self.gate.ask()


def test_a_stop_keeps_a_checkpoint_of_the_last_step(tmp_path):
    gate = StopGate()
    training = make_training(tmp_path, make_spec(save_every_steps=100), gate=gate)
    training.emitter = Emitter(StopAtStep(gate, 5))
    with pytest.raises(StopRequested):
        train_loop(training)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-5"]


def test_a_stop_in_the_optimizer_step_counts_that_step(tmp_path):
    gate = StopGate()
    training = make_training(tmp_path, make_spec(save_every_steps=100), gate=gate)
    real_step = training.optimizers.step

    def step_and_ask():
        real_step()
        if training.at.step == 2:
            gate.ask()

    training.optimizers.step = step_and_ask
    with pytest.raises(StopRequested):
        train_loop(training)
    kept = list_checkpoints(tmp_path)[-1]
    assert json.loads((kept / "progress.json").read_text())["step"] == 3


def test_a_loss_that_is_no_number_stops_before_the_weights_are_touched(tmp_path):
    training = make_training(tmp_path)
    before = [parameter.detach().clone() for parameter in training.parameters]
    training.trainee.base.get_input_embeddings().weight.data[5:].fill_(math.inf)
    with pytest.raises(EngineError, match="rows .* lower learning_rate") as caught:
        train_loop(training)
    assert caught.value.reason is Reason.NON_FINITE_LOSS
    assert all(torch.equal(a, b) for a, b in zip(before, training.parameters, strict=True))


def test_a_checkpoint_of_other_data_is_refused(tmp_path):
    train_loop(make_training(tmp_path / "one"))
    checkpoint = list_checkpoints(tmp_path / "one")[0]
    other = make_training(tmp_path / "two", make_spec(seed=99), resume_from=checkpoint)
    with pytest.raises(EngineError, match="another dataset or another spec"):
        train_loop(other)


def keep_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoil_pickle(path):
    """Leave an archive whose pickle is none."""
    with zipfile.ZipFile(path) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in found.items():
            archive.writestr(name, b"\xff\xfe" if name.endswith("data.pkl") else data)


def leave_out_a_matrix(path):
    stored = load_file(path)
    stored.pop(next(iter(stored)))
    save_file(stored, path)


TORN = {
    "half a state": ("trainer.pt", keep_half),
    "an empty state": ("trainer.pt", lambda path: path.write_bytes(b"")),
    "a state of bytes": ("trainer.pt", lambda path: path.write_bytes(b"\x80\x02rubbish")),
    "a state without pickle": ("trainer.pt", spoil_pickle),
    "a state of nothing": ("trainer.pt", lambda path: torch.save({}, path)),
    "no state": ("trainer.pt", lambda path: path.unlink()),
    "half the weights": ("model.safetensors", keep_half),
    "few of the weights": ("model.safetensors", leave_out_a_matrix),
    "no weights": ("model.safetensors", lambda path: path.unlink()),
    "half a count": ("progress.json", keep_half),
    "another count": ("progress.json", lambda path: path.write_text('{"steps": 4}')),
}


@pytest.fixture(scope="module")
def kept_whole(tmp_path_factory):
    """The folder of a run that trained all weights, with its checkpoint."""
    folder = tmp_path_factory.mktemp("kept")
    train_loop(make_training(folder, FULL))
    return folder


FULL = make_spec(method="full", learning_rate=1e-3, max_steps=6)


@pytest.mark.parametrize("how", TORN)
def test_a_torn_checkpoint_is_refused_as_not_whole(tmp_path, kept_whole, how):
    checkpoint = shutil.copytree(list_checkpoints(kept_whole)[0], tmp_path / "step-4")
    name, tear = TORN[how]
    tear(checkpoint / name)
    training = make_training(tmp_path / "run", FULL, resume_from=checkpoint)
    with pytest.raises(EngineError, match="step-4 cannot be used, it is not whole") as caught:
        train_loop(training)
    assert caught.value.reason is Reason.BAD_SPEC


@pytest.mark.parametrize("num_kept", [1, 3])
def test_as_many_checkpoints_stay_as_are_asked_for(tmp_path, num_kept):
    spec = make_spec(save_every_steps=1, keep_checkpoints=num_kept, max_steps=7)
    train_loop(make_training(tmp_path, spec))
    found = [path.name for path in list_checkpoints(tmp_path)]
    assert found == [f"step-{step}" for step in range(7 - num_kept, 7)]


@pytest.mark.parametrize("begin", [None, "step-2"])
def test_later_checkpoints_of_an_earlier_try_are_set_aside(tmp_path, begin):
    """Beside them, what a run begun anew writes would be the oldest, and swept at once."""
    spec = make_spec(save_every_steps=1, keep_checkpoints=5, max_steps=7)
    train_loop(make_training(tmp_path, spec))
    resume = tmp_path / "checkpoints" / begin if begin else None
    first = 2 if begin else 0
    again = spec.model_copy(update={"keep_checkpoints": 2})
    seen = []
    training = make_training(tmp_path, again, resume_from=resume)
    training.emitter = Emitter(
        lambda event: event.type == "artifact" and seen.append((event.name, event.step))
    )
    train_loop(training)
    assert [step for _, step in seen] == list(range(first + 1, 7))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-5", "step-6"]
    aside = tmp_path / "checkpoints" / "earlier-1"
    assert sorted(path.name for path in aside.iterdir()) == [
        f"step-{step}" for step in range(max(first, 1) + 1, 7)
    ]


def test_steps_go_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    """The writer waits for a step that only comes if no step waits for the writer."""
    is_there = threading.Event()
    write = checkpoint_module.write_weights

    def write_late(*args, **options):
        assert is_there.wait(120), "the step after the checkpoint's waited for its writing"
        return write(*args, **options)

    def see(event):
        if event.type == "metric" and event.step == 6:
            is_there.set()

    monkeypatch.setattr(checkpoint_module, "write_weights", write_late)
    training = make_training(tmp_path, make_spec(max_steps=7))
    training.emitter = Emitter(see)
    train_loop(training)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step-4"]


def test_a_checkpoint_that_is_gone_is_refused(tmp_path):
    training = make_training(tmp_path, resume_from=tmp_path / "swept" / "checkpoints" / "last")
    with pytest.raises(EngineError, match="to resume from is not on this node") as caught:
        train_loop(training)
    assert caught.value.reason is Reason.BAD_SPEC
    assert list_checkpoints(tmp_path) == []


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_rate_rises_to_its_peak_and_never_over_it(schedule):
    rates = [
        get_learning_rate(step, 100, peak=1.0, warmup_ratio=0.1, schedule=schedule)
        for step in range(100)
    ]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert max(rates) == 1.0
    assert min(rates) > 0
    assert schedule == "constant" or rates[-1] < 0.05


def test_the_verb_leaves_an_adapter_that_peft_loads(tmp_path):
    save_tiny(tmp_path / "model")
    rows = [
        {"messages": [{"role": "user", "content": str(n)}, {"role": "assistant", "content": "ok"}]}
        for n in range(10)
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    spec = make_spec(model=str(tmp_path / "model"), dataset=str(tmp_path / "rows.jsonl"))
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    events = []
    train(spec, Placement(run_dir=run_dir), Emitter(events.append), StopGate())
    loaded = PeftModel.from_pretrained(make_model(), run_dir / "out")
    assert any(
        parameter.abs().sum() for name, parameter in loaded.named_parameters() if "lora_B" in name
    )
    made = json.loads((run_dir / "out" / "athanor.json").read_text())
    assert made["spec"]["learning_rate"] == spec.learning_rate
    assert made["metrics"]["step"] == max(get_losses(events))
    assert any(e.type == "artifact" and e.role == "adapter" for e in events)


def test_an_unknown_layer_name_is_refused_with_those_there_are():
    with pytest.raises(EngineError, match=r"named qkv; it has .*q_proj"):
        add_adapter(make_model(), LoraOptions(target_modules=("qkv",)), seed=0)
