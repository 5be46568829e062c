"""Values of any kind as short texts for a table; no cell is long, none can run."""

import json
import math
from dataclasses import dataclass
from typing import Any

_MOST_TEXT = 2000
_MOST_ITEMS = 100
_DEEPEST = 6
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
)


@dataclass(frozen=True)
class Cell:
    """One value as shown: `null number bool text json bytes image audio`."""

    kind: str
    text: str = ""
    is_cut: bool = False
    """There is more of it than shown."""
    url: str = ""
    """Where a picture or a sound is."""


def sniff_media(head: bytes) -> str:
    """Return the media type that the first bytes prove; of what is neither picture nor sound, none.

    SVG is none: it can hold a script.
    """
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12], "")
    return ""


def find_bytes(value: Any) -> bytes | None:
    """Return a value's bytes: itself, or `bytes` of the struct that `datasets` writes."""
    if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
        return value["bytes"]
    return value if isinstance(value, bytes) else None


def show_cell(value: Any) -> Cell:
    """Return a value as it is shown."""
    if value is None:
        return Cell("null")
    if isinstance(value, bool):
        return Cell("bool", str(value).lower())
    if isinstance(value, (int, float)):
        return Cell("number", _number(value))
    if (content := find_bytes(value)) is not None:
        media = sniff_media(content[:16]).partition("/")[0]
        return Cell(media or "bytes", f"{len(content)} bytes")
    if isinstance(value, (dict, list, tuple)):
        text = json.dumps(_plain(value, 0), ensure_ascii=False)
        return _cut("json", text)
    return _cut("text", str(value))


def _cut(kind: str, text: str) -> Cell:
    clean = text[:_MOST_TEXT].replace("\0", "\u2400").encode("utf-8", "replace").decode()
    return Cell(kind, clean, is_cut=len(text) > _MOST_TEXT)


def _number(value: int | float) -> str:
    if isinstance(value, int):
        return str(value) if abs(value) < 10**40 else "a number of more than 40 digits"
    return repr(value) if math.isfinite(value) else str(value)


def _plain(value: Any, depth: int) -> Any:
    """Return what JSON can say; what is deep or long is told by its size."""
    if isinstance(value, dict):
        if depth >= _DEEPEST:
            return f"{{{len(value)}}}"
        items = list(value.items())[:_MOST_ITEMS]
        return {str(name)[:200]: _plain(item, depth + 1) for name, item in items}
    if isinstance(value, (list, tuple)):
        if depth >= _DEEPEST:
            return f"[{len(value)}]"
        return [_plain(item, depth + 1) for item in value[:_MOST_ITEMS]]
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int):
        return value if abs(value) < 2**63 else _number(value)
    return str(value)[:_MOST_TEXT]
