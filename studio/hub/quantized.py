"""What a commit says of its own quantization: its config, and the report card that came with it."""

from functools import lru_cache

from pydantic import ValidationError

from engine.specs.quality import REPORT_NAME, QualityReport
from studio.hub.cards import CONFIG, read_json
from studio.hub.model_facts import read_text
from studio.hub.models import Blob

_CONFIG_KEY = "quantization_config"


def find_quality(blobs: dict[str, Blob]) -> QualityReport | None:
    """Return the report card of a model's files; None where there is none that can be read."""
    text = read_text(blobs[REPORT_NAME]) if REPORT_NAME in blobs else None
    if text is None:
        return None
    try:
        return QualityReport.model_validate_json(text)
    except ValidationError:
        return None


def is_quantized(blobs: dict[str, Blob]) -> bool:
    """Say whether a model's files hold weights in fewer bits, by its config."""
    return CONFIG in blobs and _says_quantized(blobs[CONFIG])


@lru_cache(maxsize=4096)
def _says_quantized(config: Blob) -> bool:
    """Read a config once: a blob is named by its content, and every look at a model asks this."""
    return isinstance(read_json(read_text(config)).get(_CONFIG_KEY), dict)
