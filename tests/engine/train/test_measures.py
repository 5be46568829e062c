"""Each stage's measures beside a plain computation: one answer at a time, in float64."""

import math

import pytest
import torch

from engine.data.batch import collate
from engine.data.samples import IGNORED, get_sides
from engine.emitter import Emitter
from engine.models.tiny import make_model
from engine.specs import TrainSpec
from engine.stopping import StopGate
from engine.train.attention import PACKED
from engine.train.loop import Training, evaluate, take_reference, train_loop
from engine.train.mesh import open_mesh
from engine.train.prepare import make_trainee, ready
from tests.engine.train.cases import PLAIN, make_samples

WIDE = {"seed": 3, "initializer_range": 0.3}
BETA = 0.3


def make_training(run_dir, stage, seen=None, **changes):
    """All weights of the tiny model, for some steps; half of the rows are held out."""
    spec = TrainSpec.model_validate(
        PLAIN
        | {"stage": stage, "method": "full", "eval_fraction": 0.5, "dpo": {"beta": BETA}}
        | {"num_epochs": 40, "max_steps": 20, "learning_rate": 3e-3, "save_every_steps": 99}
        | changes
    )
    base = make_model(**WIDE)
    base.set_attn_implementation(PACKED)
    base.requires_grad_(False)
    mesh = open_mesh(spec.parallel, torch.device("cpu"))
    return Training(
        spec=spec,
        trainee=ready(make_trainee(base, spec), spec, mesh),
        samples=make_samples(stage),
        mesh=mesh,
        run_dir=run_dir,
        emitter=Emitter(None if seen is None else seen.append),
        gate=StopGate(),
    )


def learn_or_move(training):
    """Bring the weights where some answers are right and some are not."""
    if training.spec.stage in ("sft", "pretrain"):
        train_loop(training)
        return
    if training.spec.stage == "dpo":
        take_reference(training)
    torch.manual_seed(7)
    with torch.no_grad():
        for parameter in training.trainee.parameters():
            parameter += 0.05 * torch.randn_like(parameter)


def read_plainly(base, side):
    """Log-probabilities and ranks of the targets, and the last hidden state, without packing."""
    out = base(input_ids=torch.tensor([side.ids]), output_hidden_states=True)
    logp = out.logits[0].log_softmax(-1)
    places = [i for i, label in enumerate(side.labels[1:]) if label != IGNORED]
    targets = [side.labels[place + 1] for place in places]
    foretold = [int(logp[place].argmax()) for place in places] if places else []
    return logp[places, targets], foretold, targets, out.hidden_states[-1][0, -1]


def copy_plainly(trainee):
    """The same weights under transformers' own attention, in float64."""
    plain = make_model(**WIDE)
    plain.load_state_dict(trainee.base.state_dict())
    return plain.double()


@torch.no_grad()
def measure_plainly(training, samples, before=None):
    stage = training.spec.stage
    after = copy_plainly(training.trainee)
    if stage in ("sft", "pretrain"):
        read = [read_plainly(after, side) for sample in samples for side in get_sides(sample)]
        logps = torch.cat([logps for logps, *_ in read])
        pairs = [
            pair for _, foretold, targets, _ in read for pair in zip(foretold, targets, strict=True)
        ]
        loss = -float(logps.mean())
        right = sum(guess == target for guess, target in pairs) / len(pairs)
        return {"loss": loss, "accuracy": right, "perplexity": math.exp(loss)}

    def value(side):
        if stage == "dpo":
            gain = read_plainly(after, side)[0].sum() - read_plainly(before, side)[0].sum()
            return BETA * float(gain)
        return float(training.trainee.stage.score.weight[0].double() @ read_plainly(after, side)[3])

    values = [(value(pair.chosen), value(pair.rejected)) for pair in samples]
    chosen, rejected = (sum(column) / len(values) for column in zip(*values, strict=True))
    found = {
        "accuracy": sum(one > other for one, other in values) / len(values),
        "margin": chosen - rejected,
    }
    if stage == "dpo":
        return found | {"chosen_reward": chosen, "rejected_reward": rejected}
    mean = (chosen + rejected) / 2
    return found | {"chosen_score": chosen, "rejected_score": rejected, "mean_score": mean}


@pytest.mark.parametrize("stage", ["sft", "pretrain", "dpo", "reward"])
def test_held_out_measures_are_those_of_each_answer_alone(tmp_path, stage):
    training = make_training(tmp_path, stage)
    before = copy_plainly(training.trainee)
    learn_or_move(training)
    wanted = measure_plainly(training, list(training.held), before)
    found = evaluate(training)
    assert found.keys() == wanted.keys() | {"loss"}
    assert found == pytest.approx(found | wanted, rel=1e-4, abs=1e-5)
    assert 0 < found["accuracy"] < 1


@pytest.mark.parametrize("stage", ["sft", "reward"])
def test_a_step_measures_what_it_is_about_to_learn_from(tmp_path, stage):
    seen = []
    learnt = make_training(tmp_path / "learnt", stage)
    learn_or_move(learnt)
    training = make_training(tmp_path, stage, seen, tokens_per_step=100_000, max_steps=1)
    training.trainee.load_state_dict(learnt.trainee.state_dict())
    wanted = measure_plainly(training, list(training.trained))
    train_loop(training)
    told = next(event.values for event in seen if event.type == "metric" and "loss" in event.values)
    assert {name: told[name] for name in wanted} == pytest.approx(wanted, rel=1e-4, abs=1e-5)


def test_equal_scores_rank_half_of_the_pairs(tmp_path):
    """A new head scores all alike."""
    found = evaluate(make_training(tmp_path, "reward"))
    assert found["accuracy"] == 0.5 and found["margin"] == 0


def test_targets_count_by_their_weights(tmp_path):
    """What a row weighs in the loss it weighs in the accuracy."""
    training = make_training(tmp_path, "sft")
    sample = training.samples[0]
    right = [0.0, 0.0]
    for index, weights in enumerate((None, tuple(2.0 for _ in sample.ids))):
        batch = collate(
            [type(sample)(sample.ids, sample.labels, sample.row, weights)], torch.device("cpu")
        )
        right[index] = float(training.trainee.eval()(batch).measures_M[0])
    assert right[1] == 2 * right[0]
