"""What a card and the names of the files tell of a repo. No other file is read."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from studio.hub.catalogue.models import LabelKind
from studio.hub.models import Kind

_MOST_LABELS = 30
_LONGEST = 60
_FORMATS = {
    "parquet": "parquet",
    "jsonl": "jsonl",
    "json": "json",
    "csv": "csv",
    "tsv": "csv",
    "txt": "text",
    "arrow": "arrow",
    "tar": "webdataset",
    "safetensors": "safetensors",
    "gguf": "gguf",
    "onnx": "onnx",
    "bin": "pytorch",
    "pt": "pytorch",
}
_MODALITIES = {
    "image": {"png", "jpg", "jpeg", "webp", "gif", "bmp"},
    "audio": {"wav", "mp3", "flac", "ogg", "m4a"},
    "video": {"mp4", "webm", "mkv"},
    "text": {"jsonl", "txt"},
    "tabular": {"csv", "tsv"},
}
_TASK_MODALITIES = {
    "image": re.compile(r"image|visual|object-detection|depth|mask"),
    "audio": re.compile(r"audio|speech|voice"),
    "video": re.compile(r"video"),
    "tabular": re.compile(r"tabular|time-series"),
    "text": re.compile(r"text|question|token|summar|translat|fill-mask|sentence|conversational"),
}
# A model's own settings and words are no data of the kind their endings tell.
_NOT_DATA = re.compile(
    r"(^|/)(config|generation_config|tokenizer.*|vocab|special_tokens_map|added_tokens|athanor"
    r"|adapter_config|preprocessor_config|.*\.index|merges|dataset_infos)\.(json|txt)$"
)


@dataclass(frozen=True)
class CatalogueFacts:
    """What to narrow a search by."""

    task: str = ""
    library: str = ""
    base_relation: str = ""
    labels: dict[str, list[str]] = field(default_factory=dict)


def read_facts(kind: str, metadata: dict[str, Any], paths: Iterable[str]) -> CatalogueFacts:
    """Tell a repo's facts from its card's front matter and its paths."""
    paths = [path for path in paths if not _NOT_DATA.search(path)]
    endings = {path.rpartition(".")[2].lower() for path in paths if "." in path}
    tasks = _texts(metadata.get("pipeline_tag")) + _texts(metadata.get("task_categories"))
    languages = _texts(metadata.get("language")) + _texts(metadata.get("languages"))
    formats = [name for ending, name in _FORMATS.items() if ending in endings]
    named = _texts(metadata.get("modality")) + _texts(metadata.get("modalities"))
    is_adapter = "adapter_model.safetensors" in paths
    return CatalogueFacts(
        task=tasks[0] if tasks else "",
        library=_find_library(kind, metadata, endings, is_adapter=is_adapter),
        base_relation=_find_relation(metadata, endings, is_adapter=is_adapter),
        labels={
            LabelKind.LANGUAGE: _once(languages),
            LabelKind.FORMAT: _once(formats),
            LabelKind.MODALITY: _once(named or _find_modalities(kind, tasks, endings)),
            LabelKind.TAG: _once(_texts(metadata.get("tags")) + tasks[1:]),
        },
    )


def _find_library(
    kind: str, metadata: dict[str, Any], endings: set[str], *, is_adapter: bool
) -> str:
    named = _texts(metadata.get("library_name"))
    if named or kind == Kind.DATASET:
        return named[0] if named else ""
    if is_adapter:
        return "peft"
    if "gguf" in endings:
        return "gguf"
    return "transformers" if "safetensors" in endings else ""


def _find_relation(metadata: dict[str, Any], endings: set[str], *, is_adapter: bool) -> str:
    named = _texts(metadata.get("base_model_relation"))
    if named and named[0] in {"adapter", "quantized", "merge", "finetune"}:
        return named[0]
    if is_adapter:
        return "adapter"
    bases = _texts(metadata.get("base_model"))
    if not bases:
        return ""
    if len(bases) > 1:
        return "merge"
    return "quantized" if "gguf" in endings else "finetune"


def _find_modalities(kind: str, tasks: list[str], endings: set[str]) -> list[str]:
    told = {
        name
        for name, pattern in _TASK_MODALITIES.items()
        if any(pattern.search(task) for task in tasks)
    }
    if kind == Kind.DATASET:
        told |= {name for name, known in _MODALITIES.items() if endings & known}
    return sorted(told)


def _once(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))[:_MOST_LABELS]


def _texts(value: Any) -> list[str]:
    """Return the short texts in a value, in small letters; of anything else, nothing."""
    items = value if isinstance(value, list) else [value]
    texts = (item.replace("\0", "").strip().lower() for item in items if isinstance(item, str))
    clean = (text.encode("utf-8", "ignore").decode()[:_LONGEST] for text in texts)
    return [text for text in clean if text]
