"""How to make a training fit that does not: the cheapest change first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

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

    Fewer tokens at once cost nothing and change no result, recomputing and the host's memory cost
    time; then a larger flavor costs points, and only then is less of the model learnt, or less
    precisely: each such change alone, then with all that changes no result. `fitting` is cheapest
    first.
    """
    has = machine.device_memory_bytes if machine.num_devices else machine.memory_bytes

    def first_that_fits(changes: Iterator[Mend]) -> Mend | None:
        for mend in changes:
            try:
                changed = _change(spec, mend.set["spec"])
            except ValidationError:  # this spec cannot be changed so: a new model takes no adapter
                continue
            if estimate_train(changed, shape, data, machine).peak_memory_bytes <= has:
                return mend
        return None

    is_on_gpu = machine.num_devices > 0
    if mend := first_that_fits(_list_free(spec, is_on_gpu=is_on_gpu)):
        return mend
    if fitting:
        return pick_flavor(fitting[0])
    return first_that_fits(_list_costly(spec, is_on_gpu=is_on_gpu))


def pick_flavor(flavor: Flavor) -> Mend:
    """Return the mend that takes another flavor."""
    named = {"flavor": flavor.name}
    return Mend("pick_flavor", named, named, f"pick {flavor.title}")


def _list_free(spec: TrainSpec, *, is_on_gpu: bool) -> Iterator[Mend]:
    """Yield what changes no result."""
    least = max(_LEAST_MICRO_BATCH, spec.max_length)
    for tokens in _halve(spec.micro_batch_tokens, least):
        yield _to_mend("lower_micro_batch_tokens", "micro_batch_tokens", tokens)
    lowest = {"micro_batch_tokens": min(spec.micro_batch_tokens, least)}
    if spec.activation_checkpointing != "full":
        yield Mend(
            "recompute_activations",
            {},
            {"spec": lowest | {"activation_checkpointing": "full"}},
            "set activation_checkpointing to full",
        )
    if is_on_gpu and spec.offload != "both":
        changes = lowest | {"activation_checkpointing": "full", "offload": "both"}
        sentence = "set activation_checkpointing to full and offload to both"
        yield Mend("offload", {}, {"spec": changes}, sentence)


def _list_costly(spec: TrainSpec, *, is_on_gpu: bool) -> Iterator[Mend]:
    """Yield what makes less be learnt, or less precisely."""
    for mend in _list_lesser(spec):
        yield mend
        for free in _list_free(spec, is_on_gpu=is_on_gpu):
            if free.code != "lower_micro_batch_tokens":
                changes = free.set["spec"] | mend.set["spec"]
                sentence = f"{mend.sentence}, and {free.sentence}"
                yield Mend(f"{mend.code}_too", mend.params, {"spec": changes}, sentence)


def _list_lesser(spec: TrainSpec) -> Iterator[Mend]:
    if spec.method == "full" and spec.optimizer == "adamw":
        changes: dict[str, Any] = {"optimizer": "adamw8bit"}
        yield Mend("lighter_optimizer", {}, {"spec": changes}, "set optimizer to adamw8bit")
    if spec.method == "full":
        changes = {"method": "lora", "learning_rate": get_usual_rate(spec.stage, "lora")}
        yield Mend("train_adapter", {}, {"spec": changes}, "set method to lora")
    if spec.method != "qlora":
        changes = {"method": "qlora", "learning_rate": spec.learning_rate}
        if spec.method == "full":
            changes["learning_rate"] = get_usual_rate(spec.stage, "qlora")
        if spec.precision == "fp8":  # which takes no weights of 4 bits
            changes["precision"] = "bf16"
        yield Mend("quantize_base", {}, {"spec": changes}, "set method to qlora")
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
