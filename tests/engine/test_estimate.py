"""The advisor's arithmetic against the real thing: weights, planned steps, measured memory."""

import json
from pathlib import Path

import pytest
import torch

from engine.data.plan import Budget, plan_epoch
from engine.models.load import has_fast_bf16
from engine.models.lora import add_adapter, list_trainable
from engine.models.tiny import make_model
from engine.specs import LoraOptions, ServeSpec, TrainSpec
from engine.specs.estimate import (
    DataFacts,
    Machine,
    ModelShape,
    count_adapter_params,
    count_steps,
    estimate_serve,
    estimate_train,
)
from engine.status import Status
from tests.engine.recorded import get_final, read_events
from tests.engine.test_cli import run_engine

MACHINE = Machine(num_cores=2, memory_bytes=8 * 2**30)
SHAPE = ModelShape.from_config(make_model().config.to_dict())
SHIPPED = Path(__file__).parents[2] / "studio/hub/shipped/athanor-guide"


def make_spec(**changes: object) -> TrainSpec:
    return TrainSpec.model_validate({"model": "a/b", "dataset": "a/c", **changes})


def make_facts(lengths: list[int]) -> DataFacts:
    return DataFacts(
        num_samples=len(lengths),
        num_tokens=sum(lengths),
        num_supervised_tokens=sum(lengths) // 2,
        longest_tokens=max(lengths),
    )


@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_counted_as_the_model_has_them(tied):
    model = make_model(tie_word_embeddings=tied)
    shape = ModelShape.from_config(model.config.to_dict())
    assert shape.num_params == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("rank", [1, 8])
@pytest.mark.parametrize("modules", [("q_proj",), ("k_proj", "down_proj"), None])
def test_the_adapter_is_counted_as_peft_makes_it(rank, modules):
    chosen = {"target_modules": modules} if modules else {}
    lora = LoraOptions(rank=rank, **chosen)
    made = add_adapter(make_model(), lora, seed=0)
    counted = count_adapter_params(make_spec(lora=lora), SHAPE)
    assert counted == sum(parameter.numel() for parameter in list_trainable(made))


@pytest.mark.parametrize("epochs", [1, 3])
def test_steps_are_counted_as_the_planner_packs_them(epochs):
    lengths = [40 + (index * 37) % 90 for index in range(400)]
    spec = make_spec(eval_fraction=0.0, num_epochs=epochs)
    budget = Budget(spec.tokens_per_step, spec.micro_batch_tokens)
    planned = sum(len(plan_epoch(lengths, budget, seed=0, epoch=e)) for e in range(epochs))
    assert count_steps(spec, make_facts(lengths)) == pytest.approx(planned, rel=0.1)


def test_max_steps_caps_the_count():
    assert count_steps(make_spec(max_steps=7), make_facts([100] * 1000)) == 7


def test_the_parts_of_the_memory_add_up():
    estimate = estimate_train(make_spec(), SHAPE, make_facts([100] * 50), MACHINE)
    assert sum(estimate.memory_parts.values()) == estimate.peak_memory_bytes


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"lora": {"rank": 4}}, {"lora": {"rank": 64}}),
        (
            {"max_length": 128, "micro_batch_tokens": 128},
            {"max_length": 128, "micro_batch_tokens": 512},
        ),
    ],
)
def test_the_mends_that_the_advisor_offers_do_save_memory(less, more):
    facts = make_facts([100] * 50)
    small = estimate_train(make_spec(**less), SHAPE, facts, MACHINE)
    large = estimate_train(make_spec(**more), SHAPE, facts, MACHINE)
    assert small.peak_memory_bytes < large.peak_memory_bytes


def test_twice_the_epochs_take_twice_the_work():
    facts = make_facts([100] * 5000)
    one, two = (estimate_train(make_spec(num_epochs=n), SHAPE, facts, MACHINE) for n in (1, 2))
    assert two.num_tokens == pytest.approx(2 * one.num_tokens, rel=0.01)
    assert two.duration_s > one.duration_s


def test_a_longer_context_takes_more_to_serve():
    short, long = (estimate_serve(ServeSpec(model="a/b", max_context=n), SHAPE) for n in (64, 512))
    assert short < long


@pytest.mark.parametrize("missing", ["hidden_size", "vocab_size", "num_hidden_layers"])
def test_a_config_of_no_decoder_is_refused_by_the_field_it_lacks(missing):
    config = make_model().config.to_dict()
    del config[missing]
    with pytest.raises(ValueError, match=missing):
        ModelShape.from_config(config)


@pytest.mark.slow
def test_predicted_memory_is_what_the_real_model_takes(tmp_path, smollm2):
    spec = make_spec(
        model=str(smollm2),
        dataset=str(SHIPPED),
        max_steps=2,
        eval_fraction=0.0,
    )
    (tmp_path / "spec.yaml").write_text(spec.model_dump_json())
    done = run_engine("train", tmp_path / "spec.yaml", "--run-dir", tmp_path / "run")
    events = read_events(tmp_path / "run")
    assert get_final(events).status == Status.SUCCEEDED, done.stdout
    measured = max(event.values["memory_bytes"] for event in events if event.type == "metric")
    counts = json.loads((tmp_path / "run" / "out" / "athanor.json").read_text())["dataset"]
    facts = DataFacts(
        num_samples=counts["num_rows"],
        num_tokens=counts["num_tokens"],
        num_supervised_tokens=counts["num_supervised_tokens"],
        longest_tokens=200,
    )
    shape = ModelShape.from_config(json.loads((smollm2 / "config.json").read_text()))
    here = MACHINE.model_copy(update={"has_bf16": has_fast_bf16(torch.device("cpu"))})
    predicted = estimate_train(spec, shape, facts, here).peak_memory_bytes
    assert predicted == pytest.approx(measured, rel=0.15)
