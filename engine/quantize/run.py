"""The quantize verb: fetch, calibrate, round layer by layer, measure, write the model, push it."""

import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from engine.card import Provenance, write_card
from engine.data.prepare import Located
from engine.emitter import Emitter
from engine.errors import EngineError
from engine.hub import Resolved, fetch_repo, push_folder
from engine.models.digest import digest_weights
from engine.models.load import pick_device
from engine.quantize.calibration import Windows, make_windows
from engine.quantize.layouts import make_config
from engine.quantize.measure import Outcome, measure_end, recommend_kv, write_prompts
from engine.quantize.methods import describe, make_method
from engine.quantize.report import write_report
from engine.quantize.speed import measure_speed
from engine.quantize.streamed import StreamedModel, WeightFiles
from engine.quantize.walk import Tell, Walk, write_ends
from engine.quantize.writer import CheckpointWriter, write_beside
from engine.runtime import read_peak_bytes, return_memory
from engine.specs import JobSpec, Placement
from engine.specs.quality import Calibration, LayerError, QualityReport
from engine.specs.quantize import QuantizeSpec, fit_group_size
from engine.status import Reason
from engine.stopping import StopGate

_KV_BOUND = 0.01
_WIDE_FAMILIES = ("gemma",)  # their activations leave float16


@dataclass(frozen=True)
class _Inputs:
    base: Resolved
    dataset: Resolved | None


def quantize(spec: JobSpec, placement: Placement, emitter: Emitter, gate: StopGate) -> None:
    """Do a QuantizeSpec's work in a placement's run directory.

    Raises:
        EngineError: with the reason and the mend, for whatever the owner can mend.
        StopRequested: when asked to stop; nothing of it is kept.
    """
    assert isinstance(spec, QuantizeSpec)
    base = fetch_repo(spec.model, "model", placement, emitter)
    data = fetch_repo(spec.dataset, "dataset", placement, emitter) if spec.dataset else None
    if placement.num_threads:
        torch.set_num_threads(placement.num_threads)
    report = quantize_folder(spec, _Inputs(base, data), placement, emitter)
    return_memory()  # the layers and what flowed between them
    folder = placement.run_dir / "out"
    report = _add_speed(report, base, folder, pick_device(placement.devices))
    report = report.model_copy(update={"weights_digest": digest_weights(folder)})
    write_report(folder, report)
    write_card(folder, _describe(spec, base, data, report, placement))
    size_bytes = sum(path.stat().st_size for path in folder.iterdir())
    emitter.artifact("out", "model", path="out", size_bytes=size_bytes)
    push_folder(folder, "model", placement, emitter)


def _add_speed(
    report: QualityReport, base: Resolved, folder: Path, device: torch.device
) -> QualityReport:
    speed, note = measure_speed(
        base.path,
        folder,
        device=device,
        name=report.device,
        num_params=WeightFiles(base.path).count_numbers(),
    )
    told = f"decode {speed.base_decode_tokens_per_s:.1f} -> " if speed else note
    told += f"{speed.decode_tokens_per_s:.1f} tokens/s" if speed else ""
    print(told, flush=True)
    return report.model_copy(update={"speed": speed, "speed_note": note})


def quantize_folder(
    spec: QuantizeSpec, inputs: _Inputs, placement: Placement, emitter: Emitter
) -> QualityReport:
    """Write the quantized model into `out` of the run directory and return what it has lost.

    Raises:
        EngineError: the model, the data or the spec cannot be used.
    """
    started = time.monotonic()
    scratch, folder = placement.run_dir / "data", placement.run_dir / "out"
    scratch.mkdir(parents=True, exist_ok=True)
    device = pick_device(placement.devices)
    model = StreamedModel(inputs.base.path, device)
    dtype = _pick_dtype(spec, model)
    method = make_method(spec, _fit(spec, model), dtype)
    with TemporaryDirectory(dir=scratch, prefix="windows-") as cache:
        located = [
            Located(source, inputs.dataset.path) for source in spec.sources if inputs.dataset
        ]
        most = int(getattr(model.config, "max_position_embeddings", 0) or spec.length)
        windows = make_windows(
            spec, inputs.base.path, located, Path(cache), emitter, most_positions=most
        )
    writer = CheckpointWriter(folder)
    walk = Walk(model, method, writer, dtype, scratch, _make_tell(model, emitter))
    outcome = _walk(walk, windows, emitter)
    write_ends(model, writer, dtype)
    writer.close()
    config = make_config(describe(method), head=model.head_name)
    write_beside(inputs.base.path, folder, config=config, dtype=dtype)
    report = _report(spec, inputs, walk, windows, outcome)
    _tell_report(report)
    return report.model_copy(
        update={
            "device": _name_device(device),
            "duration_s": time.monotonic() - started,
            "peak_memory_bytes": _read_peak(device),
        }
    )


def _walk(walk: Walk, windows: Windows, emitter: Emitter) -> Outcome:
    print(
        f"Calibrating on {len(windows.calibration_WT)} windows of "
        f"{windows.calibration_WT.shape[1]} tokens, measuring on {len(windows.held_out_WT)}",
        flush=True,
    )
    greedy_WT = write_prompts(walk.model, windows.held_out_WT)
    return_memory()
    try:
        walk.run(windows.calibration_WT, windows.held_out_WT, greedy_WT)
        emitter.progress("evaluate", 0, 1)
        outcome = measure_end(walk)
        emitter.progress("evaluate", 1, 1)
    finally:
        walk.close()
    return outcome


def _make_tell(model: StreamedModel, emitter: Emitter) -> Tell:
    def tell(error: LayerError, eta_s: float) -> None:
        done, total = error.index + 1, model.num_layers
        emitter.progress("quantize", done, total, unit="layer", eta_s=eta_s)
        emitter.metric(done, {"linear_error": error.linear, "stream_error": error.stream})
        print(
            f"layer {done}/{total}: linear error {error.linear:.2e}, "
            f"stream error {error.stream:.2e}",
            flush=True,
        )

    return tell


def _fit(spec: QuantizeSpec, model: StreamedModel) -> int:
    try:
        return fit_group_size(spec, model.widths)
    except ValueError as error:
        reason = Reason.BAD_MODEL if str(error).startswith("model") else Reason.BAD_SPEC
        raise EngineError(reason, str(error)) from error


def _pick_dtype(spec: QuantizeSpec, model: StreamedModel) -> torch.dtype:
    """Return what weights that stay are stored in: kernels of 4 bits want float16 beside them."""
    is_wide = str(model.config.model_type).startswith(_WIDE_FAMILIES)
    is_half = any(dtype == "F16" for dtype in model.weights.dtypes.values())
    wants_half = spec.method in ("awq", "gptq", "rtn") and not is_wide
    return torch.float16 if is_half or wants_half else torch.bfloat16


def _report(
    spec: QuantizeSpec, inputs: _Inputs, walk: Walk, windows: Windows, outcome: Outcome
) -> QualityReport:
    return QualityReport(
        scheme=describe(walk.method),
        base=inputs.base.ref,
        base_revision=inputs.base.revision or "",
        calibration=Calibration(
            dataset=spec.dataset or "",
            revision=(inputs.dataset.revision or "") if inputs.dataset else "",
            num_windows=len(windows.calibration_WT),
            length_tokens=spec.length,
            num_held_out_windows=len(windows.held_out_WT),
            num_held_out_tokens=windows.held_out_WT.numel(),
        ),
        base_perplexity=outcome.base_perplexity,
        quantized=outcome.quantized,
        kv={name: outcome.kv[name] for name in ("int8", "int4") if name in outcome.kv},
        recommended_kv=recommend_kv(outcome.quantized, outcome.kv, _KV_BOUND),
        kv_bound=_KV_BOUND,
        greedy=outcome.greedy,
        size_bytes=walk.writer.num_bytes,
        base_size_bytes=walk.model.weights.num_bytes,
        bytes_per_weight=walk.num_weight_bytes / max(1, walk.num_weights),
        layers=walk.layers,
    )


def _tell_report(report: QualityReport) -> None:
    greedy = report.greedy
    matched = f", greedy match {greedy.mean_tokens:.1f} of {greedy.of_tokens}" if greedy else ""
    print(
        f"Perplexity {report.base_perplexity:.3f} -> {report.quantized.perplexity:.3f}, "
        f"agreement {report.quantized.agreement:.1%}{matched}, "
        f"{report.base_size_bytes / 2**20:.1f} -> {report.size_bytes / 2**20:.1f} MiB",
        flush=True,
    )


def _describe(
    spec: QuantizeSpec,
    base: Resolved,
    data: Resolved | None,
    report: QualityReport,
    placement: Placement,
) -> Provenance:
    return Provenance(
        spec=spec,
        base=base,
        dataset=data,
        metrics={
            "perplexity": report.quantized.perplexity,
            "base_perplexity": report.base_perplexity,
            "agreement": report.quantized.agreement,
        },
        device=report.device,
        names=placement.provenance,
        report=report,
    )


def _name_device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    num_threads = torch.get_num_threads()
    return f"CPU, {num_threads} thread{'' if num_threads == 1 else 's'}"


def _read_peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else read_peak_bytes()
