"""What goes with an artifact so that it can be understood and made again: card and provenance.

`README.md` is the card that hubs read; `athanor.json` holds the same for programs.
"""

import json
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import ModelCardData

from engine.hub import Resolved
from engine.quantize.report import name_scheme, write_section
from engine.specs import JobSpec, TrainSpec, split_ref
from engine.specs.quality import QualityReport
from engine.specs.sources import Source

CARD_NAME, PROVENANCE_NAME = "README.md", "athanor.json"
_LIBRARIES = ("athanor", "torch", "transformers", "peft", "tokenizers", "safetensors")


@dataclass(frozen=True)
class Provenance:
    """All that made an artifact."""

    spec: JobSpec
    base: Resolved
    dataset: Resolved | None
    """None where it learnt from nothing of a hub's or of a path."""
    metrics: dict[str, float]
    """The last ones: `loss`, `eval_loss`, `step`, ..."""
    device: str
    """In words, such as `CPU, 2 threads`."""
    counts: dict[str, int] = field(default_factory=dict)
    """Of the dataset: rows, tokens, supervised tokens."""
    names: dict[str, str] = field(default_factory=dict)
    """Job, run, node and owner, as the placement gives them."""
    report: QualityReport | None = None
    """Of a quantized model."""


def write_card(folder: Path, made: Provenance) -> None:
    """Write card and provenance of a model, or of an adapter, into its folder."""
    body = _to_json(made)
    text = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    (folder / PROVENANCE_NAME).write_text(text, encoding="utf-8")
    metadata = _make_metadata(made).to_yaml()
    card = f"---\n{metadata}\n---\n\n{_write_text(made, body)}"
    (folder / CARD_NAME).write_text(card, encoding="utf-8")


def _to_json(made: Provenance) -> dict[str, Any]:
    return {
        "kind": "adapter" if _is_adapter(made) else "model",
        "spec": made.spec.model_dump(mode="json"),
        "base": None if _is_new(made) else _to_source(made.base),
        "dataset": None if made.dataset is None else _to_source(made.dataset) | made.counts,
        "metrics": made.metrics,
        "device": made.device,
        "versions": {"python": platform.python_version(), **_list_versions()},
        **({"made_by": made.names} if made.names else {}),
    }


def _to_source(source: Resolved) -> dict[str, Any]:
    named = asdict(source) | {"path": None if source.repo else str(source.path)}
    return {name: value for name, value in named.items() if value is not None}


def _list_versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _make_metadata(made: Provenance) -> ModelCardData:
    base_card = _read_metadata(made.base.path / CARD_NAME)
    dataset_card = _read_dataset_card(made)
    is_reward = getattr(made.spec, "stage", "") == "reward"
    return ModelCardData(
        base_model=made.base.repo,
        base_model_relation=_relate(made) if made.base.repo else None,
        base_model_revision=made.base.revision,
        datasets=_list_datasets(made) or None,
        dataset_revision=made.dataset.revision if made.dataset else None,
        language=dataset_card.get("language"),
        library_name="peft" if _is_adapter(made) else "transformers",
        license=base_card.get("license"),
        pipeline_tag="text-classification" if is_reward else "text-generation",
        tags=_list_tags(made),
    )


def _relate(made: Provenance) -> str:
    if made.report is not None:
        return "quantized"
    return "adapter" if _is_adapter(made) else "finetune"


def _list_tags(made: Provenance) -> list[str]:
    if made.report is not None:
        scheme = made.report.scheme
        return ["athanor", scheme.method, scheme.format, f"{scheme.weight_bits}-bit"]
    return ["athanor", getattr(made.spec, "stage", "sft"), getattr(made.spec, "method", "lora")]


def _read_dataset_card(made: Provenance) -> dict[str, Any]:
    if made.dataset is None:
        return {}
    return _read_metadata(_folder(made.dataset.path) / CARD_NAME)


def _list_datasets(made: Provenance) -> list[str]:
    """Return the datasets of a hub that it learnt from, each once."""
    more = [
        split_ref(source.repo)[0] for source in _list_mixture(made) if source.repo[0] not in "./"
    ]
    learnt = [made.dataset.repo] if made.dataset and made.dataset.repo else []
    return list(dict.fromkeys([*learnt, *more]))


def _list_mixture(made: Provenance) -> tuple[Source, ...]:
    return made.spec.mixture if isinstance(made.spec, TrainSpec) else ()


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _read_metadata(path: Path) -> dict[str, Any]:
    """Return the front matter of a card; of one that is absent or unreadable, nothing."""
    try:
        content = path.read_text(encoding="utf-8")
        body = yaml.safe_load(content.split("---", 2)[1]) if content.startswith("---") else {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, IndexError):
        return {}
    return body if isinstance(body, dict) else {}


def _write_text(made: Provenance, body: dict[str, Any]) -> str:
    metrics = "\n".join(f"| {key} | {value:.6g} |" for key, value in sorted(made.metrics.items()))
    versions = ", ".join(f"{key} {value}" for key, value in body["versions"].items())
    counts = ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in made.counts.items())
    counts = counts.replace("num ", "")
    mixture = "".join(
        f"\n- **Mixed in**: `{source.repo}`, weight {source.weight:g}"
        for source in _list_mixture(made)
    )
    spec = yaml.safe_dump(body["spec"], sort_keys=False, allow_unicode=True)
    return f"""# {_title(made)}

{_say_what(made)}, made with Athanor.

- **Base model**: {"none: from scratch" if _is_new(made) else _name(made.base)}
- **Dataset**: {_name_dataset(made)}{": " + counts if counts else ""}{mixture}
- **Device**: {made.device}
- **Versions**: {versions}

{_write_results(made, metrics)}
## Spec

The same spec, seed and device give the same {"weights" if made.report else "losses"}: save it as
`spec.yaml` and run `python -m engine {made.spec.kind} spec.yaml`.

```yaml
{spec}```
"""


def _write_results(made: Provenance, metrics: str) -> str:
    if made.report is not None:
        return write_section(made.report)
    return f"""## Last metrics

| metric | value |
| --- | --- |
{metrics}
"""


def _name_dataset(made: Provenance) -> str:
    return _name(made.dataset) if made.dataset else "the calibration set that comes with Athanor"


def _is_new(made: Provenance) -> bool:
    return getattr(made.spec, "from_scratch", None) is not None


def _is_adapter(made: Provenance) -> bool:
    return made.report is None and getattr(made.spec, "method", "lora") != "full"


def _say_what(made: Provenance) -> str:
    if made.report is not None:
        return f"The base model's weights in {name_scheme(made.report.scheme)}"
    is_reward = getattr(made.spec, "stage", "") == "reward"
    what = "reward model" if is_reward else "model"
    if not _is_adapter(made):
        return f"A {what} of which every weight was trained"
    return "A LoRA adapter" + (f" that makes a {what}" if is_reward else "")


def _title(made: Provenance) -> str:
    """Return the name its owner gave it, else the one that a hub makes of base and dataset."""
    if named := getattr(made.spec, "output", "") or made.names.get("output", ""):
        return named.rpartition("/")[2]
    if made.report is not None:
        return f"{Path(made.base.repo or made.base.path).name}-{made.report.scheme.method}"
    sources = (made.dataset,) if _is_new(made) else (made.base, made.dataset)
    return "-".join(Path(each.repo or each.path).name for each in sources if each is not None)


def _name(source: Resolved) -> str:
    if source.repo is None:
        return f"`{source.ref}`"
    return f"`{source.repo}` at `{source.revision}`"
