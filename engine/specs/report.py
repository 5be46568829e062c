"""What a check of a dataset finds before anything is spent: rows of any format, good and bad.

A contract module: pydantic and the standard library only; memory stays bounded. Tokens are guessed
without a tokenizer; the run's own data contract (engine/specs/contract.py) counts them.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

from pydantic import BaseModel, ConfigDict

from engine.specs.formats import NUM_LOOKED_AT, FormatName, detect_format, read_row
from engine.specs.messages import estimate_row_tokens, estimate_tokens, parse_object
from engine.specs.problems import RowProblem
from engine.specs.tables import RawRow
from engine.specs.turns import ConversationRow, Row, TextRow

MAX_PROBLEMS = 200


class DatasetReport(BaseModel):
    """What a check of a dataset, or of one file of it, found in the rows that were looked at."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    format: FormatName = "messages"
    """Of several files the format of the first."""
    formats: list[FormatName] = []
    """Of all files, each once."""
    num_files: int = 1
    share: float = 1.0
    """Of the dataset's bytes that were looked at: a large one is told by its beginning."""
    num_rows: int
    """Rows that were looked at; blank lines do not count."""
    num_good: int
    num_bad: int
    num_problems: int
    problems: list[RowProblem]
    """The first 200, in the order of the file."""
    num_tokens_estimate: int
    num_supervised_tokens_estimate: int
    longest_tokens_estimate: int

    @property
    def is_whole(self) -> bool:
        """Say whether every row was looked at."""
        return self.share >= 1.0

    def scale(self, count: int) -> int:
        """Return what a count of the rows that were looked at comes to in all."""
        return count if self.is_whole else round(count / max(self.share, 1e-9))


def check_rows(rows: Iterable[RawRow], name: FormatName) -> DatasetReport:
    """Check the rows of one file, one at a time."""
    problems: list[RowProblem] = []
    num_rows = num_good = num_problems = num_all = num_supervised = longest = 0
    for number, raw, found in rows:
        num_rows += 1
        row = None
        if not found:
            row, found = read_row(raw, name, number)
        num_problems += len(found)
        problems += found[: MAX_PROBLEMS - len(problems)]
        if row is None:
            continue
        num_good += 1
        for tokens, supervised in _estimate(row):
            num_all, num_supervised = num_all + tokens, num_supervised + supervised
            longest = max(longest, tokens)
    return DatasetReport(
        format=name,
        formats=[name],
        num_rows=num_rows,
        num_good=num_good,
        num_bad=num_rows - num_good,
        num_problems=num_problems,
        problems=problems,
        num_tokens_estimate=num_all,
        num_supervised_tokens_estimate=num_supervised,
        longest_tokens_estimate=longest,
    )


def check_lines(lines: Iterable[bytes], name: FormatName = "messages") -> DatasetReport:
    """Check a whole file of one JSON object a line."""
    return check_rows(iter_lines_of_rows(lines), name)


def iter_lines_of_rows(lines: Iterable[bytes]) -> Iterator[RawRow]:
    """Read each line that is not blank."""
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, *parse_object(line, number)


def tell_format(rows: Iterator[RawRow]) -> tuple[FormatName | None, Iterator[RawRow]]:
    """Return the format of a file's rows, told by the first of them, and all rows again.

    None where there are rows and they are of no format that we know. Rows that cannot be read at
    all are told in the words of `messages`.
    """
    first = list(islice(rows, NUM_LOOKED_AT))
    found = detect_format(raw for _, raw, _ in first)
    if found is None and not any(isinstance(raw, dict) for _, raw, _ in first):
        found = "messages"
    return found, chain(first, rows)


def join_reports(reports: Sequence[DatasetReport], *, share: float) -> DatasetReport:
    """Return what the files of a dataset have in common; there is one at least."""
    first = reports[0]
    return DatasetReport(
        format=first.format,
        formats=list(dict.fromkeys(name for one in reports for name in one.formats)),
        num_files=len(reports),
        share=share,
        problems=[problem for one in reports for problem in one.problems][:MAX_PROBLEMS],
        longest_tokens_estimate=max(one.longest_tokens_estimate for one in reports),
        **{name: sum(getattr(one, name) for one in reports) for name in _SUMMED},
    )


_SUMMED = (
    "num_rows",
    "num_good",
    "num_bad",
    "num_problems",
    "num_tokens_estimate",
    "num_supervised_tokens_estimate",
)


def _estimate(row: Row) -> Iterator[tuple[int, int]]:
    """Guess the tokens of what a row becomes, all and supervised: a pair becomes two samples."""
    if isinstance(row, TextRow):
        tokens = estimate_tokens(row.text) + 1
        yield tokens, tokens
    elif isinstance(row, ConversationRow):
        yield estimate_row_tokens(row.messages)
    else:
        for answer in (row.chosen, row.rejected):
            num_prompt, num_own = estimate_row_tokens(row.prompt)[0], estimate_row_tokens(answer)
            yield num_prompt + num_own[0], num_own[1]
