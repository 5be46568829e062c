"""How to make a training fit that does not: the cheapest change first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.specs import TrainSpec
from engine.specs.estimate import DataFacts, Machine, ModelShape, estimate_train
from engine.specs.stages import get_usual_rate
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
    """Return the cheapest change that makes the training fit, or None where nothing does.

    Fewer tokens at once cost nothing and change no result, recomputing costs time; then a larger
    flavor costs points, and only then is less of the model learnt. `fitting` is cheapest first.
    """
    has = machine.device_memory_bytes if machine.num_devices else machine.memory_bytes

    def first_that_fits(changes: Iterator[Mend]) -> Mend | None:
        for mend in changes:
            changed = _change(spec, mend.set["spec"])
            if estimate_train(changed, shape, data, machine).peak_memory_bytes <= has:
                return mend
        return None

    if mend := first_that_fits(_list_free(spec)):
        return mend
    if fitting:
        return pick_flavor(fitting[0])
    return first_that_fits(_list_costly(spec))


def pick_flavor(flavor: Flavor) -> Mend:
    """Return the mend that takes another flavor."""
    named = {"flavor": flavor.name}
    return Mend("pick_flavor", named, named, f"pick {flavor.title}")


def _list_free(spec: TrainSpec) -> Iterator[Mend]:
    """Yield what changes no result."""
    least = max(_LEAST_MICRO_BATCH, spec.max_length)
    for tokens in _halve(spec.micro_batch_tokens, least):
        yield _to_mend("lower_micro_batch_tokens", "micro_batch_tokens", tokens)
    if spec.activation_checkpointing != "full":
        lowest = min(spec.micro_batch_tokens, least)
        changes = {"activation_checkpointing": "full", "micro_batch_tokens": lowest}
        sentence = "set activation_checkpointing to full"
        yield Mend("recompute_activations", {}, {"spec": changes}, sentence)


def _list_costly(spec: TrainSpec) -> Iterator[Mend]:
    """Yield what makes less be learnt, or less precisely."""
    if spec.method == "full":
        rate = get_usual_rate(spec.stage, "lora")
        changes: dict[str, Any] = {"method": "lora", "learning_rate": rate}
        yield Mend("train_adapter", {}, {"spec": changes}, "set method to lora")
    if spec.method == "lora":
        yield Mend("quantize_base", {}, {"spec": {"method": "qlora"}}, "set method to qlora")
    if spec.method != "full":
        for rank in _halve(spec.lora.rank, _LEAST_RANK):
            changes = {"lora": {"rank": rank}}
            yield Mend("lower_rank", {"value": rank}, {"spec": changes}, f"set lora.rank to {rank}")


def _halve(value: int, least: int) -> Iterator[int]:
    while value > least:
        value = max(least, value // 2)
        yield value


def _change(spec: TrainSpec, changes: dict[str, Any]) -> TrainSpec:
    lora = {**spec.lora.model_dump(), **changes.get("lora", {})}
    return TrainSpec.model_validate({**spec.model_dump(), **changes, "lora": lora})


def _to_mend(code: str, name: str, value: int) -> Mend:
    return Mend(code, {"value": value}, {"spec": {name: value}}, f"set {name} to {value}")
