"""Shows a person what a dataset teaches: bad rows with their mends, and the loss mask in colour."""

from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from engine.data.conversations import find_file, read_conversations
from engine.data.render import IGNORED, Rendered, Renderer
from engine.emitter import Emitter
from engine.hub import fetch_repo
from engine.models.load import load_tokenizer
from engine.specs import Placement
from engine.specs.messages import DatasetReport, check_lines, iter_lines

_LONGEST = 2**31  # show what is there, not what a spec would cut
_MOST_PROBLEMS = 20


def inspect_file(file: Path, model: str, num_rows: int) -> int:
    """Print a report of a file and its first rows; return 0 where every row is good, else 1.

    Raises:
        EngineError: there is no such file or model.
    """
    out = Console()
    path = find_file(file)
    with path.open("rb") as content:
        report = check_lines(iter_lines(iter(lambda: content.read(2**20), b"")))
    if report.num_bad:
        _show_problems(out, path, report)
        return 1
    base = fetch_repo(model, "model", Placement(run_dir=Path.cwd()), Emitter())
    tokenizer = load_tokenizer(base.path)
    renderer = Renderer(tokenizer, max_length=_LONGEST)
    samples = [
        renderer.render(messages, row=index)
        for index, messages in enumerate(read_conversations(path))
    ]
    _show_counts(out, path, samples)
    for sample in samples[:num_rows]:
        out.rule(f"row {sample.row + 1}", align="left")
        out.print(paint_mask(tokenizer, sample, marks=not out.is_terminal), soft_wrap=True)
    return 0


def paint_mask(tokenizer: PreTrainedTokenizerBase, sample: Rendered, *, marks: bool) -> Text:
    """Return a sample's text with what is learnt in bold green; `marks` puts it in [[ ]] too."""
    text = Text()
    start = 0
    for end in range(1, len(sample.ids) + 1):
        is_learnt = sample.labels[start] != IGNORED
        if end < len(sample.ids) and (sample.labels[end] != IGNORED) == is_learnt:
            continue
        piece = tokenizer.decode(sample.ids[start:end])
        if is_learnt and marks:
            piece = f"[[{piece}]]"
        text.append(piece, style="bold green underline" if is_learnt else "dim")
        start = end
    return text


def _show_problems(out: Console, path: Path, report: DatasetReport) -> None:
    out.print(f"{path.name}: {report.num_bad} of {report.num_rows} rows are bad.", markup=False)
    table = Table("line", "field", "problem", "mend")
    for problem in report.problems[:_MOST_PROBLEMS]:
        table.add_row(*map(Text, (str(problem.line), problem.field, problem.problem, problem.mend)))
    out.print(table)
    if report.num_problems > _MOST_PROBLEMS:
        out.print(f"... and {report.num_problems - _MOST_PROBLEMS} more.")


def _show_counts(out: Console, path: Path, samples: list[Rendered]) -> None:
    lengths = [len(sample.ids) for sample in samples]
    num_learnt = sum(sample.num_supervised for sample in samples)
    share = num_learnt / max(1, sum(lengths))
    out.print(
        f"{path.name}: {len(samples)} rows, {sum(lengths)} tokens "
        f"(median {median(lengths):.0f}, longest {max(lengths)}), "
        f"of which {num_learnt} ({share:.0%}) are learnt.",
        markup=False,
        highlight=False,
    )
