"""What a training's spec refuses by itself, before anything is opened or paid for."""

import pytest
from pydantic import ValidationError

from engine.refusals import REFUSALS
from engine.specs import TrainSpec


def read(**fields: object) -> TrainSpec:
    return TrainSpec.model_validate({"model": "a/b", "dataset": "a/c"} | fields)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"optimizer": "muon", "method": "full", "parallel": {"shards": 2}}, "muon_spread"),
        ({"optimizer": "muon", "parallel": {"tensor": 2}}, "muon_spread"),
        ({"method": "qlora", "parallel": {"tensor": 2}}, "qlora_cut"),
        ({"lora": {"variant": "dora"}, "parallel": {"tensor": 2}}, "dora_cut"),
    ],
)
def test_a_method_that_needs_whole_matrices_does_not_spread_them(fields, code):
    with pytest.raises(ValidationError) as caught:
        read(**fields)
    (problem,) = caught.value.errors()
    found = REFUSALS.find(problem["msg"].removeprefix("Value error, "))
    assert found is not None and found.code == code


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "muon", "parallel": {"replicas": 2, "sequence": 2, "pipeline": 2}},
        {"method": "qlora", "parallel": {"shards": 2}},
        {"lora": {"variant": "dora"}, "parallel": {"shards": 2}},
        {"method": "full", "lora": {"variant": "dora"}, "parallel": {"tensor": 2}},
    ],
)
def test_other_sizes_are_taken(fields):
    assert read(**fields).parallel.num_processes > 1
