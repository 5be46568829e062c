"""What the columns of a table hold: nulls, spread and a histogram each, from the first rows."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any

from studio.hub.viewer.lines import Record

_BINS = 12
_MOST_DISTINCT = 20
_MOST_TOP = 10
_LONGEST = 80
_MOST_COLUMNS = 200


def describe_columns(rows: Iterable[Record]) -> list[dict[str, Any]]:
    """Return the statistics of each column that the rows have, in the order they come."""
    columns: dict[str, list[Any]] = {}
    num_rows = 0
    for row in rows:
        num_rows += 1
        for name, value in row.items():
            if name in columns or len(columns) < _MOST_COLUMNS:
                columns.setdefault(str(name), []).append(_measure(value))
    return [_describe(name, values, num_rows) for name, values in columns.items()]


def _measure(value: Any) -> Any:
    """Keep of a value what is counted: of a long text or a list its length, never itself."""
    if isinstance(value, str):
        return ("text", len(value), value if len(value) <= _LONGEST else None)
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return float(value) if abs(value) < 2**1000 else None
    if isinstance(value, float):
        return value
    if isinstance(value, (list, tuple)):
        return ("list", len(value), None)
    return ("bytes" if isinstance(value, bytes) else "other", 0, None)


def _describe(name: str, values: list[Any], num_rows: int) -> dict[str, Any]:
    there = [value for value in values if value is not None]
    body: dict[str, Any] = {"name": name, "num_null": num_rows - len(there), "kind": _kind(there)}
    if body["kind"] == "number":
        numbers = [value for value in there if math.isfinite(value)]
        body["num_nan"] = len(there) - len(numbers)
        return body | _spread(numbers)
    if body["kind"] == "bool":
        return body | {"top": _top("true" if value else "false" for value in there)}
    if body["kind"] in {"text", "list"}:
        body |= _spread([float(value[1]) for value in there])
        distinct = {value[2] for value in there}
        if None not in distinct and len(distinct) <= _MOST_DISTINCT < len(there) + 18:
            body["top"] = _top(value[2] for value in there)
    return body


def _kind(values: list[Any]) -> str:
    kinds = {_kind_of(value) for value in values}
    return kinds.pop() if len(kinds) == 1 else ("mixed" if kinds else "empty")


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, float) else str(value[0])


def _spread(numbers: list[float]) -> dict[str, Any]:
    if not numbers:
        return {}
    least, most = min(numbers), max(numbers)
    try:
        mean = math.fsum(numbers) / len(numbers)
    except OverflowError:
        mean = sum(number / len(numbers) for number in numbers)
    return {"min": least, "max": most, "mean": mean, "bins": _bin(numbers, least, most)}


def _bin(numbers: list[float], least: float, most: float) -> list[int]:
    width = most / _BINS - least / _BINS  # divided first: the difference may be over all numbers
    if width <= 0:
        return [len(numbers)]
    bins = [0] * _BINS
    for number in numbers:
        bins[min(int(number / width - least / width), _BINS - 1)] += 1
    return bins


def _top(values: Iterable[str]) -> list[dict[str, Any]]:
    clean = (value.encode("utf-8", "replace").decode().replace("\0", "") for value in values)
    return [{"value": value, "count": n} for value, n in Counter(clean).most_common(_MOST_TOP)]
