"""How fast trainings go on a flavor, as its earlier runs measured: the advisor's time rests on it.

Runs tell operations a second (`engine/specs/flops.py`), not tokens, so that one with other rows, a
longer window or recomputed layers speaks for the next one too.
"""

from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from pydantic import ValidationError

from engine.specs import TrainSpec, split_ref
from engine.status import Status
from studio.compute.models import Flavor
from studio.jobs.models import Run

_MOST_READ = 50
_MOST_TAKEN = 5
_USUAL_SHARE = (
    0.2  # of the roofline: the `hfu` of SmolLM2-135M, short rows, on a core with bf16 units
)


@dataclass(frozen=True)
class Speed:
    """What a training may count on."""

    flops_per_s: float
    """Operations a second, as trained, of all devices together."""
    basis: Literal["runs", "machine"]
    """Runs of the same model by the same method, or the measured speed of the flavor's machines."""
    num_runs: int


def find_speed(spec: TrainSpec, flavor: Flavor) -> Speed | None:
    """Return what the flavor's newest finished runs measured; None where there is none to go by.

    The middle one of those that trained the same model by the same method; else a usual share of
    how fast the machines multiply matrices in this precision, which any run tells.
    """
    runs = Run.objects.filter(
        status=Status.SUCCEEDED.value,
        job__kind="train",
        job__flavor=flavor,
        latest_metrics__has_key="flops_per_s",
    )
    newest = [
        (other, told)
        for raw, told in runs.order_by("-ended_at").values_list("job__spec", "latest_metrics")[
            :_MOST_READ
        ]
        if (other := _read_spec(raw)) is not None and other.precision == spec.precision
    ]
    wanted = _get_kind(spec)
    alike = [told["flops_per_s"] for other, told in newest if _get_kind(other) == wanted]
    if alike := alike[:_MOST_TAKEN]:
        return Speed(median(alike), "runs", len(alike))
    rooflines = [told["roofline_flops_per_s"] for _, told in newest[:_MOST_TAKEN]]
    if not rooflines:
        return None
    return Speed(_USUAL_SHARE * median(rooflines), "machine", len(rooflines))


def _read_spec(raw: dict[str, Any]) -> TrainSpec | None:
    """Return a spec as it was launched; None for one of before a field was taken away."""
    try:
        return TrainSpec.model_validate(raw)
    except ValidationError:
        return None


def _get_kind(spec: TrainSpec) -> tuple[object, ...]:
    """Return what two trainings of one speed have in common; any version of a model will do."""
    start = spec.from_scratch or split_ref(spec.model)[0]
    return spec.method, spec.compile, start
