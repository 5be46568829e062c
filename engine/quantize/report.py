"""The report card as a file, and as a section of the model's card."""

from pathlib import Path

from engine.specs.quality import REPORT_NAME, QualityReport, Scheme


def write_report(folder: Path, report: QualityReport) -> None:
    """Write the report into a model's folder."""
    text = report.model_dump_json(indent=2) + "\n"
    (folder / REPORT_NAME).write_text(text, encoding="utf-8")


def read_report(folder: Path) -> QualityReport | None:
    """Return the report of a model's folder; None where there is none.

    Raises:
        ValueError: there is a file of its name that is none.
    """
    path = folder / REPORT_NAME
    if not path.is_file():
        return None
    return QualityReport.model_validate_json(path.read_bytes())


def name_scheme(scheme: Scheme) -> str:
    """Return a scheme in a few signs, such as `AWQ W4A16 g64`."""
    names = {"awq": "AWQ", "gptq": "GPTQ", "rtn": "RTN", "smoothquant": "SmoothQuant"}
    name = names.get(scheme.method, scheme.method)
    group = f" g{scheme.group_size}" if scheme.group_size else ""
    return f"{name} W{scheme.weight_bits}A{scheme.activation_bits}{group}"


def write_section(report: QualityReport) -> str:
    """Return the report as a section of a card, in Markdown."""
    rows = [
        ("perplexity, base", f"{report.base_perplexity:.4f}"),
        ("perplexity, quantized", f"{report.quantized.perplexity:.4f}"),
        ("same likeliest token", f"{report.quantized.agreement:.2%}"),
    ]
    if report.greedy is not None:
        greedy = f"{report.greedy.mean_tokens:.1f} of {report.greedy.of_tokens} tokens"
        rows.append(("greedy answer stays the base's for", greedy))
    for precision, measured in report.kv.items():
        told = f"{measured.perplexity:.4f} ({measured.agreement:.2%} the same)"
        rows.append((f"perplexity with {precision} keys and values", told))
    rows.append(("keys and values: recommended", report.recommended_kv))
    rows.append(("size", f"{report.size_bytes / 2**20:.1f} MiB"))
    rows.append(("size of the base", f"{report.base_size_bytes / 2**20:.1f} MiB"))
    rows.append(("bytes per quantized weight", f"{report.bytes_per_weight:.3f}"))
    rows += _list_speed(report)
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    made = report.calibration
    dataset = f"`{made.dataset}`" if made.dataset else "the set that comes with Athanor"
    return f"""## Report card

{name_scheme(report.scheme)}, `{report.scheme.format}` format, calibrated on {made.num_windows}
windows of {made.length_tokens} tokens of {dataset}
and measured on {made.num_held_out_tokens} tokens of other rows.

| measure | value |
| --- | --- |
{table}
"""


def _list_speed(report: QualityReport) -> list[tuple[str, str]]:
    speed = report.speed
    if speed is None:
        return [("speed", f"not measured: {report.speed_note}")] if report.speed_note else []
    return [
        (f"prefill, tokens/s ({speed.device})", f"{speed.prefill_tokens_per_s:.1f}"),
        ("prefill of the base", f"{speed.base_prefill_tokens_per_s:.1f}"),
        ("decode, tokens/s", f"{speed.decode_tokens_per_s:.1f}"),
        ("decode of the base", f"{speed.base_decode_tokens_per_s:.1f}"),
    ]
