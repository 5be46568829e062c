"""Tells the data contract, and refuses a run whose data is worse than its owner allows."""

import os
from collections import Counter
from pathlib import Path

from engine.emitter import Emitter
from engine.errors import EngineError
from engine.specs.contract import DataContract, SourceContract
from engine.status import Reason

FILE_NAME = "data/contract.json"
"""Below the run directory, in the one folder of it that preparing writes to."""
_MOST_TOLD = 5
_COLUMNS = {
    "rows": "num_rows",
    "kept": "num_kept",
    "bad": "num_bad",
    "zero loss": "num_zero_loss",
    "cut": "num_cut",
    "no end": "num_without_end",
    "ends added": "num_ends_added",
    "tokens": "num_tokens",
    "learnt": "num_supervised_tokens",
}


def check_contract(contract: DataContract) -> None:
    """Refuse sources without rows, and those with more bad rows than are allowed.

    Raises:
        EngineError: bad_data, naming the first bad rows, their fields and the mend.
    """
    for source in contract.sources:
        num_rows, num_bad = source.total("num_rows"), source.total("num_bad")
        if not num_rows:
            names = ", ".join(file.name for file in source.files[:_MOST_TOLD])
            raise EngineError(Reason.BAD_DATA, f"dataset: {names} holds no rows: add some.")
        if num_bad > contract.max_bad_fraction * num_rows:
            raise EngineError(Reason.BAD_DATA, _word_refusal(source, contract.max_bad_fraction))


def write_contract(contract: DataContract, run_dir: Path, emitter: Emitter) -> Path:
    """Write the contract into the run directory, whole or not at all, and announce it."""
    path = run_dir / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    body = contract.model_dump_json(indent=1)
    half = path.with_suffix(f".{os.getpid()}.tmp")  # every rank of a run may write it
    half.write_text(body)
    half.replace(path)
    emitter.artifact("data contract", "report", path=FILE_NAME, size_bytes=len(body.encode()))
    return path


def format_table(contract: DataContract) -> str:
    """Return the contract as lines of a table: a file each, then why rows were dropped."""
    lines = [["file", "format", *_COLUMNS]]
    dropped: Counter[str] = Counter()
    for source in contract.sources:
        for file in source.files:
            counts = [f"{getattr(file, count):,}" for count in _COLUMNS.values()]
            lines.append([file.name, file.format, *counts])
            dropped.update(file.dropped)
    if len(lines) > 2:
        totals = [f"{contract.total(count):,}" for count in _COLUMNS.values()]
        lines.append(["all", "", *totals])
    widths = [max(len(line[index]) for line in lines) for index in range(len(lines[0]))]
    table = [
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    why = ", ".join(f"{count:,} {code}" for code, count in dropped.most_common())
    return "\n".join([*table, f"Dropped as bad: {why}"] if why else table)


def count_rows(contract: DataContract) -> dict[str, int]:
    """Return the counts that go into a model's card."""
    return {
        "num_rows": contract.total("num_rows"),
        "num_bad_rows": contract.total("num_bad"),
        "num_rows_without_answer": contract.total("num_zero_loss"),
        "num_rows_cut": contract.total("num_cut"),
        "num_tokens": contract.total("num_tokens"),
        "num_supervised_tokens": contract.total("num_supervised_tokens"),
    }


def _word_refusal(source: SourceContract, most: float) -> str:
    num_bad, num_rows = source.total("num_bad"), source.total("num_rows")
    bad = [file for file in source.files if file.num_bad]
    told = [
        f"{file.name + ', ' if len(bad) > 1 else ''}line {problem.line}: "
        f"{problem.problem} {problem.mend}"
        for file in bad
        for problem in file.problems
    ]
    names = bad[0].name if len(bad) == 1 else f"{len(bad)} files"
    allowed = f" of {num_rows}, and max_bad_fraction allows {most:.2%}" if most else ""
    shown = " ".join(told[:_MOST_TOLD])
    return f"dataset: {num_bad} bad rows in {names}{allowed}: {shown}"
