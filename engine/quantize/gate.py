"""What a server asks before it serves a quantized model: is it still near enough to its base?"""

from collections.abc import Callable
from pathlib import Path

from engine.errors import EngineError
from engine.models.digest import digest_weights
from engine.quantize.report import name_scheme, read_report
from engine.specs.serve import ServeSpec
from engine.status import Reason

_MEND = ": lower least_agreement, set on_low_agreement to warn, or serve its base."
QUANTIZED_CONFIG = "quantization_config"


def check_quality(
    folder: Path, spec: ServeSpec, fetch_weights: Callable[[], Path] | None = None
) -> str:
    """Weigh a model's report card against the least agreement that a spec asks for.

    Return a warning to show where it is less, or nothing. A model that is not quantized passes.
    Where the folder came without its weights, `fetch_weights` returns one that has them: it is
    called for a card that says enough, since one that says too little needs no gigabytes.

    Raises:
        EngineError: bad_model, where it is less and the spec says to refuse; bad_model too for a
            quantized model without a report, of which nobody knows, or with that of another.
    """
    if spec.least_agreement == 0:
        return ""
    try:
        report = read_report(folder)
    except ValueError as error:
        return _judge(spec, f"model: {spec.model} has a report card that cannot be read", error)
    if report is None:
        if not _is_quantized(folder):
            return ""
        return _judge(spec, f"model: {spec.model} is quantized and has no report card")
    found = report.quantized.agreement
    if found < spec.least_agreement:
        return _judge(
            spec,
            f"model: {spec.model}, in {name_scheme(report.scheme)}, agrees with its base on "
            f"{found:.1%} of tokens and least_agreement asks for {spec.least_agreement:.1%}",
        )
    weights = fetch_weights() if fetch_weights and report.weights_digest else folder
    if report.weights_digest and report.weights_digest != digest_weights(weights):
        return _judge(spec, f"model: {spec.model} has a report card of other weights")
    return ""


def _judge(spec: ServeSpec, what: str, cause: Exception | None = None) -> str:
    if spec.on_low_agreement == "refuse":
        raise EngineError(Reason.BAD_MODEL, what + _MEND) from cause
    return f"{what}; it is served all the same."


def _is_quantized(folder: Path) -> bool:
    config = folder / "config.json"
    # A GGUF file brings none, and holds anything from floats to two bits.
    return not config.is_file() or QUANTIZED_CONFIG in config.read_text(encoding="utf-8")
