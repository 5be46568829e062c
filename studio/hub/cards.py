"""What a repo's own files say of it: the card's front matter, adapter or base, provenance."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml

from studio.hub.models import Kind, Role

CARD, PROVENANCE = "README.md", "athanor.json"
CONFIG, ADAPTER_CONFIG = "config.json", "adapter_config.json"
MAX_TEXT_BYTES = 2**20  # a card or a config that is longer is not read
_SHORT = 300
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z(])|(?<=[\u3002\uff01\uff1f])")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKUP = re.compile(r"(?:\*\*|\*|`|\b__|\b_|~~)(\S|\S.*?\S)(?:\*\*|\*|`|__\b|_\b|~~)")

ReadText = Callable[[str], str | None]
"""Returns a file of the repo as text, or None where there is none that is short and UTF-8."""


@dataclass(frozen=True)
class Card:
    """A README: its front matter and the Markdown below it."""

    metadata: dict[str, Any]
    text: str
    problem: str = ""
    """Why the front matter cannot be used; empty where it can."""


@dataclass(frozen=True)
class Description:
    """What to list a repo by."""

    role: Role
    license: str = ""
    base_model: str = ""
    base_revision: str = ""
    summary: str = ""
    tags: list[str] = field(default_factory=list)


def read_card(text: str) -> Card:
    """Split a README; front matter that cannot be read is left out and the problem said."""
    if not text.startswith("---"):
        return Card({}, text)
    head, fence, body = text[3:].lstrip("\r").removeprefix("\n").partition("\n---")
    if not fence:
        return Card({}, text, "the front matter has no closing line of three dashes")
    body = body.partition("\n")[2].lstrip("\r\n")
    try:
        metadata = yaml.load(head, Loader=_PlainLoader)
        metadata = json.loads(json.dumps(metadata, default=str), parse_constant=str)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        return Card({}, body, f"the front matter is not YAML: {str(error).splitlines()[0]}")
    if metadata is None:
        return Card({}, body)
    if not isinstance(metadata, dict):
        return Card({}, body, "the front matter is not a list of `name: value` lines")
    return Card({str(name): value for name, value in metadata.items()}, body)


def describe(kind: str, paths: set[str], read_text: ReadText) -> Description:
    """Tell from a commit's files what it is."""
    card = read_card((read_text(CARD) or "") if CARD in paths else "")
    base, revision = _find_base(paths, read_text, card.metadata)
    if kind == Kind.DATASET:
        role, base, revision = Role.DATASET, "", ""
    else:
        role = Role.ADAPTER if ADAPTER_CONFIG in paths else Role.BASE
    return Description(
        role=role,
        license=_text(card.metadata.get("license"))[:60],
        base_model=base[:200],
        base_revision=revision[:100],
        summary=_first_sentence(card.text),
        tags=[_text(tag)[:60] for tag in _items(card.metadata.get("tags"))[:20]],
    )


def read_json(text: str | None) -> dict[str, Any]:
    """Return a JSON object; of anything else, nothing."""
    try:
        value = json.loads(text or "{}", parse_constant=str)  # NaN is no JSON for a browser
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


class _PlainLoader(yaml.SafeLoader):
    """YAML without aliases: a card has no use for them, and they can grow without bound."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not taken")
        return super().compose_node(parent, index)


def _find_base(paths: set[str], read_text: ReadText, metadata: dict[str, Any]) -> tuple[str, str]:
    provenance = read_json(read_text(PROVENANCE) if PROVENANCE in paths else None)
    base = provenance.get("base")
    if isinstance(base, dict) and _text(base.get("repo")):
        return _text(base["repo"]), _text(base.get("revision"))
    named = _items(metadata.get("base_model"))
    if named and _text(named[0]):
        return _text(named[0]), _text(metadata.get("base_model_revision"))
    config = read_json(read_text(ADAPTER_CONFIG) if ADAPTER_CONFIG in paths else None)
    name = _text(config.get("base_model_name_or_path"))
    is_repo_id = name.count("/") == 1 and not name.startswith((".", "/"))
    return (name, _text(config.get("revision"))) if is_repo_id else ("", "")


def _first_sentence(text: str) -> str:
    """Return the first sentence of plain prose, or nothing."""
    lines: list[str] = []
    for line in text.splitlines():
        plain = line.strip()
        is_prose = bool(plain) and plain[0] not in "#|>`<-*!=[:"
        if is_prose:
            lines.append(plain)
        elif lines:
            break
    paragraph = _text(_MARKUP.sub(r"\1", _LINK.sub(r"\1", " ".join(lines))))
    return _SENTENCE_END.split(paragraph, maxsplit=1)[0][:_SHORT]


def _items(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        return ""
    return value.replace("\0", "").encode("utf-8", "ignore").decode().strip()
