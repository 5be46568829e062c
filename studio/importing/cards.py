"""The card of a repo that is made of a bare GGUF file."""

import re
from typing import Any

import yaml

from studio.importing.gguf import GgufFacts

_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+\-]{0,60}")


def write_card(file_name: str, facts: GgufFacts) -> str:
    """Return a README whose front matter says what the file's header says."""
    front: dict[str, Any] = {"library_name": "gguf", "tags": ["gguf"]}
    if _LICENSE.fullmatch(facts.license.lower()):
        front["license"] = facts.license.lower()
    told = {
        "architecture": facts.architecture,
        "context_length": facts.context_length,
        "quantization": facts.quantization,
    }
    front["gguf"] = {key: value for key, value in told.items() if value}
    rows = [f"- {title}: `{_plain(value)}`" for title, value in _list_rows(file_name, facts)]
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True)
    title = _plain(facts.name) or _plain(file_name)
    return f"---\n{head}---\n# {title}\n\nFrom the header of the file:\n\n" + "\n".join(rows) + "\n"


def _list_rows(file_name: str, facts: GgufFacts) -> list[tuple[str, Any]]:
    rows = [
        ("File", file_name),
        ("Architecture", facts.architecture),
        ("Quantization", facts.quantization),
        ("Context length", facts.context_length),
        ("Licence", facts.license),
    ]
    return [(title, value) for title, value in rows if value]


def _plain(value: object) -> str:
    """Leave out what Markdown or HTML would read as more than words."""
    return re.sub(r"[`<>\[\]*#|\\]", "", str(value)).strip()
