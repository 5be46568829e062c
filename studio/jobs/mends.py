"""How to make a finetune fit that does not: the cheapest change first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.specs import TrainSpec
from engine.specs.estimate import DataFacts, Machine, ModelShape, estimate_train
from studio.compute.models import Flavor

_LEAST_MICRO_BATCH = 64
_LEAST_RANK = 4


@dataclass(frozen=True)
class Mend:
    """A change that the launch page makes in one click. `set` is what it puts into the form."""

    code: str
    params: dict[str, Any] = field(default_factory=dict)
    set: dict[str, Any] = field(default_factory=dict)
    sentence: str = ""
    """What to do, to end an English sentence."""


def find_mend(
    spec: TrainSpec,
    shape: ModelShape,
    data: DataFacts,
    machine: Machine,
    fitting: Sequence[Flavor],
) -> Mend | None:
    """Return the cheapest change that makes the finetune fit, or None where nothing does.

    Fewer tokens at once cost nothing and change no result; then a larger flavor costs points, and
    only then is the adapter made narrower, which changes what is learnt. `fitting` is cheapest
    first.
    """
    has = machine.device_memory_bytes if machine.num_devices else machine.memory_bytes

    def fits(changed: TrainSpec) -> bool:
        return estimate_train(changed, shape, data, machine).peak_memory_bytes <= has

    for tokens in _halve(spec.micro_batch_tokens, max(_LEAST_MICRO_BATCH, spec.max_length)):
        if fits(_change(spec, {"micro_batch_tokens": tokens})):
            return _to_spec_mend("lower_micro_batch_tokens", "micro_batch_tokens", tokens)
    if fitting:
        flavor = fitting[0]
        sentence = f"pick {flavor.title}"
        return Mend("pick_flavor", {"flavor": flavor.name}, {"flavor": flavor.name}, sentence)
    for rank in _halve(spec.lora.rank, _LEAST_RANK):
        if fits(_change(spec, {"lora": {**spec.lora.model_dump(), "rank": rank}})):
            return Mend(
                "lower_rank",
                {"value": rank},
                {"spec": {"lora": {"rank": rank}}},
                f"set lora.rank to {rank}",
            )
    return None


def _halve(value: int, least: int) -> Iterator[int]:
    while value > least:
        value = max(least, value // 2)
        yield value


def _change(spec: TrainSpec, changes: dict[str, Any]) -> TrainSpec:
    return TrainSpec.model_validate({**spec.model_dump(), **changes})


def _to_spec_mend(code: str, name: str, value: int) -> Mend:
    return Mend(code, {"value": value}, {"spec": {name: value}}, f"set {name} to {value}")
