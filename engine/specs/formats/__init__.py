"""The formats that people bring, each a file of its own: a row goes in, a canonical row comes out.

A contract module: pydantic and the standard library only. A new format is one file that offers
`fits` and `read`, and one line in `FORMATS`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from engine.specs.formats import alpaca, guanaco, moss, openai, plain_text, preference, sharegpt
from engine.specs.problems import BadRow, RowProblem, make_problem, name_type
from engine.specs.turns import Row

FormatName = Literal["messages", "alpaca", "sharegpt", "guanaco", "moss", "text", "preference"]
FORMAT_NAMES: tuple[FormatName, ...] = get_args(FormatName)
NUM_LOOKED_AT = 32
"""Rows at the beginning of a file by which its format is told."""


@dataclass(frozen=True)
class Format:
    """How rows of one format are known and read."""

    name: FormatName
    fits: Callable[[dict[str, Any]], bool]
    """Says, by its fields alone, whether a row looks like one of this format."""
    read: Callable[[dict[str, Any], int], Row]
    """Turns a row into a canonical one; raises BadRow with everything that is wrong with it."""


# In the order in which they are tried: those with the more telling fields first.
FORMATS: dict[FormatName, Format] = {
    "preference": Format("preference", preference.fits, preference.read),
    "messages": Format("messages", openai.fits, openai.read),
    "moss": Format("moss", moss.fits, moss.read),
    "sharegpt": Format("sharegpt", sharegpt.fits, sharegpt.read),
    "alpaca": Format("alpaca", alpaca.fits, alpaca.read),
    "guanaco": Format("guanaco", guanaco.fits, guanaco.read),
    "text": Format("text", plain_text.fits, plain_text.read),
}


def detect_format(rows: Iterable[object]) -> FormatName | None:
    """Return the format that most rows look like; of equals the first row's; None for none."""
    votes: dict[FormatName, int] = {}
    for row in rows:
        if isinstance(row, dict):
            name = next((name for name, one in FORMATS.items() if one.fits(row)), None)
            if name is not None:
                votes[name] = votes.get(name, 0) + 1
    return max(votes.items(), key=lambda item: item[1])[0] if votes else None


def read_row(row: object, name: FormatName, number: int) -> tuple[Row | None, list[RowProblem]]:
    """Read one row of a named format: what it teaches, or everything that is wrong with it.

    Never raises, whatever the row. `number` is its line in the file, from 1.
    """
    if not isinstance(row, dict):
        return None, [make_problem(number, "", "not_row", found=name_type(row))]
    try:
        return FORMATS[name].read(row, number), []
    except BadRow as bad:
        return None, bad.problems
    except RecursionError:
        return None, [make_problem(number, "", "not_row", found="nested too deeply")]
