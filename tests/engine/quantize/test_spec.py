"""The spec's bounds, and what the advisor predicts from it."""

import pytest
from pydantic import ValidationError

from engine.specs import JOB_SPEC
from engine.specs.facts import Machine
from engine.specs.quantize import QuantizeSpec, fit_group_size
from engine.specs.quantize_cost import estimate_quantize
from engine.specs.shape import ModelShape

SMOLLM2 = ModelShape.from_config(
    {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "tie_word_embeddings": True,
    }
)
MACHINE = Machine(num_cores=2, memory_bytes=8 * 2**30)


def make(**fields) -> QuantizeSpec:
    return JOB_SPEC.validate_python({"kind": "quantize", "model": "a/b", **fields})


def test_the_kind_is_one_of_the_union():
    assert isinstance(make(), QuantizeSpec)
    assert make(dataset="a/texts").list_sources() == (("model", "a/b"), ("dataset", "a/texts"))
    assert make().list_sources() == (("model", "a/b"),)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"group_size": 48}, "group_size"),
        ({"method": "int8", "group_size": 64}, "group_size"),
        ({"method": "awq", "alpha": 0.5}, "alpha"),
        ({"method": "smoothquant", "alpha": 1.5}, "alpha"),
        ({"method": "nf4"}, "method"),
        ({"num_samples": 0}, "num_samples"),
        ({"num_held_out": 1}, "num_held_out"),
        ({"length": 16}, "length"),
        ({"damping": 0}, "damping"),
        ({"model": "nowhere"}, "model"),
        ({"bits": 3}, "bits"),
    ],
)
def test_what_cannot_be_is_refused_and_the_field_named(fields, named):
    with pytest.raises(ValidationError) as refused:
        make(**fields)
    assert named in str(refused.value)


def test_the_group_size_is_the_largest_that_divides_every_layer():
    assert fit_group_size(make(), {4096, 11008}) == 128
    assert fit_group_size(make(), {576, 1536}) == 64  # SmolLM2
    assert fit_group_size(make(), {96, 288}) == 32
    assert fit_group_size(make(group_size=32), {4096}) == 32
    assert fit_group_size(make(method="int8"), {100}) == 0


def test_a_group_size_that_does_not_fit_is_refused_with_the_mend():
    with pytest.raises(ValueError, match="^group_size: 576 inputs .* leave group_size out"):
        fit_group_size(make(group_size=128), {576, 1536})
    with pytest.raises(ValueError, match="^model: 100 inputs .* smoothquant or int8"):
        fit_group_size(make(), {100, 128})


def test_an_estimate_adds_up_and_grows_with_what_is_asked():
    few, many = make(num_samples=16), make(num_samples=256)
    small, large = (estimate_quantize(one, SMOLLM2, MACHINE) for one in (few, many))
    assert small.peak_memory_bytes == sum(small.memory_parts.values())
    assert small.duration_s < large.duration_s
    assert small.peak_memory_bytes <= large.peak_memory_bytes
    plain = estimate_quantize(make(method="rtn", num_samples=16), SMOLLM2, MACHINE)
    assert plain.duration_s < small.duration_s


def test_a_large_model_is_never_held_whole():
    large = SMOLLM2.model_copy(
        update={
            "num_params": 7 * 10**9,
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "num_heads": 32,
            "num_kv_heads": 32,
            "head_dim": 128,
            "num_layers": 32,
            "vocab_size": 32000,
        }
    )
    assert estimate_quantize(make(), large, MACHINE).peak_memory_bytes < 9 * 2**30
