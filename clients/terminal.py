"""What every command shares: how it reaches the studio, and how it prints."""

import json
import re
import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from clients.account import find_account
from clients.api import StudioApi

# Where no terminal sets a width, as in a pipe, a row is a line and nothing is cut off.
_WIDTH = None if sys.stdout.isatty() else 10_000
# C0 but the newline, C1, and what sets the direction of writing.
_CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
console = Console(soft_wrap=True, highlight=False, width=_WIDTH)

AsJson = Annotated[bool, typer.Option("--json", help="Print what the API answered.")]


class Refused(Exception):
    """What was asked cannot be; the message is one sentence that says why."""


def make_api() -> StudioApi:
    """Return the studio of whoever is signed in here."""
    account = find_account()
    return StudioApi(account.url, account.token)


def show(body: Any, as_json: bool, tell: Callable[[], object]) -> None:
    """Print an answer, for a program or for people."""
    if as_json:
        print(json.dumps(body, ensure_ascii=False, indent=2))
    else:
        tell()


def say(text: str) -> None:
    """Print a line as it is: what looks like markup in it is none."""
    console.print(escape(clean(text)))


def clean(text: str) -> str:
    """Return a text that only shows itself: what would move the cursor or turn its order is `?`.

    Others' words may be in it, such as the card of a repo.
    """
    return _CONTROLS.sub("?", text.replace("\t", " "))


def show_table(columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> None:
    """Print rows below their headings."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(clean(cell.replace("\n", " "))) for cell in row))
    console.print(table)


def format_points(mpoints: int) -> str:
    """Return milli-points as points."""
    return f"{mpoints / 1000:,.3f}".rstrip("0").rstrip(".")


def format_bytes(size: int) -> str:
    """Return bytes as GiB."""
    return f"{size / 2**30:,.1f}".removesuffix(".0") + " GiB"


def format_left(seconds: float) -> str:
    """Return how long something still is, to the minute."""
    minutes = max(0, int(seconds // 60))
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
