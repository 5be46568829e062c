"""What a file looks like without opening it whole: data for the page, never markup to be run."""

import csv
import io
import json
import os
import time
from collections.abc import Sequence
from itertools import islice
from typing import Any, BinaryIO

from studio.accounts.models import User
from studio.core.parquet import BadParquet, ParquetFile, ParquetLate
from studio.drive.folders import open_file
from studio.drive.selectors import etag_of
from studio.drive.spaces import open_space

_MOST_TEXT_BYTES = 512 * 1024
_MOST_NOTEBOOK_BYTES = 16 * 2**20
_MOST_S = 3.0
_MOST_ROWS = 100
_MOST_COLUMNS = 100
_MOST_CELLS = 500
_MOST_CELL_LETTERS = 2000
_IMAGES = {".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".avif"}
_IMAGE_OUTPUTS = ("image/png", "image/jpeg")


def preview(user: User, parts: Sequence[str]) -> dict[str, Any]:
    """Return what a page can show of a file: `kind`, and what that kind has.

    Raises:
        OSError: there is no such file.
    """
    ending = os.path.splitext(parts[-1])[1].lower() if parts else ""
    with open_space(user) as space, open_file(space.home, parts) as file:
        info = os.fstat(file.fileno())
        shown = _show(file, ending, info.st_size)
    blank = {"text": "", "is_cut": False, "columns": [], "rows": [], "num_rows": None, "cells": []}
    return blank | shown | {"etag": etag_of(info), "size_bytes": info.st_size}


def _show(file: BinaryIO, ending: str, size: int) -> dict[str, Any]:
    if ending in _IMAGES:
        return {"kind": "image"}
    if ending == ".parquet":
        return _show_parquet(file)
    if ending == ".ipynb" and size <= _MOST_NOTEBOOK_BYTES:
        return _show_notebook(file)
    text = _read_text(file)
    if text is None:
        return {"kind": "binary"}
    is_cut = size > _MOST_TEXT_BYTES
    if ending in {".csv", ".tsv"}:
        return _show_csv(text, "\t" if ending == ".tsv" else ",", is_cut=is_cut)
    if ending in {".jsonl", ".ndjson"} and (table := _show_jsonl(text, is_cut=is_cut)):
        return table
    kind = "markdown" if ending in {".md", ".markdown"} else "text"
    return {"kind": kind, "text": text, "is_cut": is_cut}


def _read_text(file: BinaryIO) -> str | None:
    """Return the beginning as text; None where it is none."""
    raw = file.read(_MOST_TEXT_BYTES)
    if b"\0" in raw:
        return None
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError as error:
            if error.start >= len(raw) - 4 and len(raw) == _MOST_TEXT_BYTES:
                return raw[: error.start].decode(encoding)  # the cut went through a letter
    return None


def _show_csv(text: str, divider: str, *, is_cut: bool) -> dict[str, Any]:
    rows = []
    try:
        for row in csv.reader(io.StringIO(text), delimiter=divider):
            rows.append([_cell(value) for value in row[:_MOST_COLUMNS]])
            if len(rows) > _MOST_ROWS:
                break
    except csv.Error:
        return {"kind": "text", "text": text, "is_cut": is_cut}
    head = rows[0] if rows else []
    is_long = is_cut or len(rows) > _MOST_ROWS
    return {"kind": "table", "columns": head, "rows": rows[1:], "is_cut": is_long}


def _show_jsonl(text: str, *, is_cut: bool) -> dict[str, Any] | None:
    columns: dict[str, None] = {}
    objects = []
    lines = text.splitlines()
    for line in lines[:_MOST_ROWS]:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        objects.append(value)
        columns |= dict.fromkeys(value)
    names = list(columns)[:_MOST_COLUMNS]
    rows = [[_cell(value.get(name)) for name in names] for value in objects]
    is_long = is_cut or len(lines) > _MOST_ROWS
    return {"kind": "table", "columns": [_cell(n) for n in names], "rows": rows, "is_cut": is_long}


def _show_parquet(file: BinaryIO) -> dict[str, Any]:
    """Read the footer and the first rows only; what its author made to be huge is not read."""
    rows: list[list[str]] = []
    try:
        with ParquetFile(file, ends_at=time.monotonic() + _MOST_S) as source:
            names = [name for name, _ in source.columns[:_MOST_COLUMNS]]
            try:
                for row in islice(source.iter_rows(0), _MOST_ROWS):
                    rows.append([_cell(row.get(name)) for name in names])
            except ParquetLate:
                pass  # what came in time is shown
    except (BadParquet, ParquetLate):
        return {"kind": "binary"}
    columns, is_cut = [_cell(name) for name in names], source.num_rows > len(rows)
    return {
        "kind": "table",
        "is_cut": is_cut,
        "columns": columns,
        "rows": rows,
        "num_rows": source.num_rows,
    }


def _show_notebook(file: BinaryIO) -> dict[str, Any]:
    raw = file.read()
    try:
        cells = json.loads(raw)["cells"]
        shown = [_show_cell(cell) for cell in cells[:_MOST_CELLS]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        text = raw[:_MOST_TEXT_BYTES].decode("utf-8", "replace").replace("\0", "")
        return {"kind": "text", "text": text, "is_cut": len(raw) > _MOST_TEXT_BYTES}
    return {"kind": "notebook", "cells": shown, "is_cut": len(cells) > _MOST_CELLS}


def _show_cell(cell: dict[str, Any]) -> dict[str, Any]:
    return {
        "is_markdown": cell.get("cell_type") == "markdown",
        "text": _join(cell.get("source", "")),
        "outputs": [_show_output(output) for output in cell.get("outputs", [])[:_MOST_ROWS]],
    }


def _show_output(output: dict[str, Any]) -> dict[str, str]:
    """Return text or a picture; HTML and scripts of a notebook are never passed on."""
    if "text" in output:
        return {"text": _join(output["text"])}
    if output.get("output_type") == "error":
        return {"text": f"{output.get('ename', '')}: {output.get('evalue', '')}"[:2000]}
    data = output.get("data", {})
    for kind in _IMAGE_OUTPUTS:
        if kind in data:
            return {"text": "", "image": f"data:{kind};base64,{_join(data[kind]).strip()}"}
    return {"text": _join(data.get("text/plain", ""))}


def _join(source: Any) -> str:
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)
    return text.encode("utf-8", "replace").decode()[:_MOST_NOTEBOOK_BYTES]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    text = value if isinstance(value, str) else _dump(value)
    return text[:_MOST_CELL_LETTERS].encode("utf-8", "replace").decode()


def _dump(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError):
        return str(value)
