"""Each mend the advisor offers must do what it says: with it made, the finetune fits."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.specs import TrainSpec
from engine.specs.estimate import DataFacts, Machine, ModelShape, estimate_train
from studio.compute.models import Flavor
from studio.jobs.advisor import get_hold_mpoints
from studio.jobs.mends import Mend, find_mend

SHAPE = ModelShape.from_config(
    {
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "intermediate_size": 1536,
        "vocab_size": 49_152,
    }
)
DATA = DataFacts(
    num_samples=5000, num_tokens=5_000_000, num_supervised_tokens=2_000_000, longest_tokens=900
)
SEVEN_BILLION = ModelShape.from_config(
    {
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 14_336,
        "vocab_size": 92_544,
    }
)
SMALL_GPU = Machine(num_cores=8, memory_bytes=2**36, num_devices=1, device_memory_bytes=8 * 2**30)
LARGER = Flavor(name="cpu-2", title="2 CPU cores, 8 GiB")


def make_spec(micro_batch_tokens: int, rank: int = 16, max_length: int = 64) -> TrainSpec:
    return TrainSpec(
        model="a/b",
        dataset="a/c",
        tokens_per_step=4_194_304,
        micro_batch_tokens=micro_batch_tokens,
        max_length=max_length,
        lora={"rank": rank},
    )


def make(spec: TrainSpec, mend: Mend) -> TrainSpec:
    change = mend.set["spec"]
    fields = spec.model_dump()
    if "lora" in change:
        change = change | {"lora": fields["lora"] | change["lora"]}
    return TrainSpec.model_validate(fields | change)


def peak(spec: TrainSpec, machine: Machine) -> int:
    return estimate_train(spec, SHAPE, DATA, machine).peak_memory_bytes


@given(
    micro_batch_tokens=st.integers(1024, 4_000_000),
    rank=st.integers(1, 256),
    max_length=st.integers(16, 1024),
    memory_gib=st.floats(0.5, 16),
)
def test_a_mended_spec_fits(micro_batch_tokens, rank, max_length, memory_gib):
    machine = Machine(num_cores=1, memory_bytes=int(memory_gib * 2**30))
    spec = make_spec(micro_batch_tokens, rank, max_length)
    assume(peak(spec, machine) > machine.memory_bytes)
    mend = find_mend(spec, SHAPE, DATA, machine, [])
    assume(mend is not None)
    assert peak(make(spec, mend), machine) <= machine.memory_bytes


def test_fewer_tokens_at_once_come_before_a_dearer_flavor():
    machine = Machine(num_cores=1, memory_bytes=4 * 2**30)
    mend = find_mend(make_spec(1_000_000), SHAPE, DATA, machine, [LARGER])
    assert mend.code == "lower_micro_batch_tokens"


def test_a_flavor_is_offered_where_no_change_of_the_spec_is_free():
    machine = Machine(num_cores=1, memory_bytes=2**29)
    mend = find_mend(make_spec(1024, max_length=1024), SHAPE, DATA, machine, [LARGER])
    assert mend.set == {"flavor": "cpu-2"}


def test_nothing_is_offered_where_nothing_helps():
    machine = Machine(num_cores=1, memory_bytes=2**20)
    assert find_mend(make_spec(1024), SHAPE, DATA, machine, []) is None


@pytest.mark.parametrize(
    ("given_spec", "code"),
    [
        ({"method": "full"}, "quantize_base"),
        ({"method": "full", "optimizer": "adamw8bit"}, "quantize_base"),
        ({"method": "lora"}, "quantize_base"),
        ({"method": "lora", "precision": "fp8"}, "quantize_base"),
    ],
)
def test_seven_billion_weights_are_brought_into_eight_gibibytes(given_spec, code):
    fields = {"model": "a/b", "dataset": "a/c", "max_length": 1024, "micro_batch_tokens": 4096}
    spec = TrainSpec(**fields | {"tokens_per_step": 65_536} | given_spec)
    mend = find_mend(spec, SEVEN_BILLION, DATA, SMALL_GPU, [])
    assert mend is not None and mend.code.startswith(code)
    changed = make(spec, mend)
    told = estimate_train(changed, SEVEN_BILLION, DATA, SMALL_GPU).peak_memory_bytes
    assert told <= SMALL_GPU.device_memory_bytes
    assert changed.method == "qlora" and changed.precision == "bf16"


@pytest.mark.parametrize(
    "given_spec",
    [
        {"method": "full", "context": {"rope_theta": 1e6}},
        {"method": "full", "stage": "pretrain", "model": "", "from_scratch": {}},
    ],
)
def test_a_change_that_the_spec_refuses_is_not_offered(given_spec):
    spec = TrainSpec(**{"model": "a/b", "dataset": "a/c"} | given_spec)
    machine = Machine(num_cores=1, memory_bytes=2**31)
    mend = find_mend(spec, SEVEN_BILLION, DATA, machine, [])
    assert mend is None or make(spec, mend).method == "full"


def test_the_eight_bit_optimizer_comes_before_an_adapter():
    spec = make_spec(1024, max_length=1024)
    spec = spec.model_copy(update={"method": "full", "activation_checkpointing": "full"})
    whole, lighter = (
        peak(each, Machine(num_cores=1, memory_bytes=2**40))
        for each in (spec, spec.model_copy(update={"optimizer": "adamw8bit"}))
    )
    assert lighter < whole
    machine = Machine(num_cores=1, memory_bytes=(whole + lighter) // 2)
    assert find_mend(spec, SHAPE, DATA, machine, []).code == "lighter_optimizer"


def test_a_hold_is_half_as_much_again_and_a_tick_and_a_minute_at_least():
    assert get_hold_mpoints(100.0, 36_000) == 1600
    assert get_hold_mpoints(1.0, 36_000) == 600
    assert get_hold_mpoints(100.0, 0) == 0
