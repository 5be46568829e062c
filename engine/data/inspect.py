"""Shows a person what datasets teach: bad rows with their mends, and the loss mask in colour.

The launch page gets the same as JSON.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import yaml
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from engine.data.contract import format_table
from engine.data.prepare import Located, Preparation, Samples, read_samples
from engine.data.render import Renderer
from engine.data.samples import IGNORED, Rendered, RenderedPair
from engine.emitter import Emitter
from engine.errors import EngineError
from engine.hub import fetch_repo
from engine.models.load import load_bare_tokenizer, load_tokenizer
from engine.spec_file import explain_problems
from engine.specs import InspectSpec, JobSpec, Placement
from engine.specs.contract import DataContract
from engine.specs.inspect import Inspection, Segment, ShownSample
from engine.specs.sources import Source
from engine.status import Reason
from engine.stopping import StopGate

_LONGEST = 2**30  # show what is there, not what a spec would cut
_MOST_PROBLEMS = 20
_MOST_SAMPLE_CHARS = 6000
_MOST_SHOWN_CHARS = 60_000  # of an event, which is one line of the journal


@dataclass(frozen=True)
class Wish:
    """What a person wants to see."""

    sources: tuple[Source, ...]
    model: str
    """Whose chat template renders the rows."""
    stage: str = "sft"
    """Plain texts need no chat template in a pretraining."""
    num_rows: int = 3
    """Samples to show of each file."""
    max_length: int = _LONGEST
    as_json: bool = False
    hub_url: str | None = None
    """Where the model and the datasets come from; None is the Hugging Face Hub."""


def inspect_options(options: argparse.Namespace) -> int:
    """Do what the command line asks; return its exit status.

    Raises:
        EngineError: there is no such file or model, or no such option.
    """
    return inspect_sources(
        Wish(
            sources=read_sources(options.sources) if options.sources else (_name_one(options),),
            model=options.model,
            stage=options.stage,
            num_rows=options.rows,
            max_length=options.max_length or _LONGEST,
            as_json=options.json,
            hub_url=options.hub,
        )
    )


def read_sources(path: Path) -> tuple[Source, ...]:
    """Read the sources of a mixture from YAML: a list, or one under `sources`.

    Raises:
        EngineError: bad_spec, a sentence for each problem.
    """
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
        listed = body.get("sources") if isinstance(body, dict) else body
        found = TypeAdapter(tuple[Source, ...]).validate_python(listed)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        told = str(error).splitlines()[0]
        raise EngineError(Reason.BAD_SPEC, f"sources: {path} cannot be read ({told}).") from error
    except ValidationError as error:
        told = "\n".join(f"sources.{problem}" for problem in explain_problems(error))
        raise EngineError(Reason.BAD_SPEC, told) from error
    if not found:
        raise EngineError(Reason.BAD_SPEC, f"sources: {path} names none: add a dataset.")
    return found


def inspect_sources(wanted: Wish) -> int:
    """Print a report of all sources and their first samples; return 0 where all rows are good.

    Raises:
        EngineError: there is no such file or model.
    """
    here = Placement(run_dir=Path.cwd(), hub_url=wanted.hub_url)
    located = [Located(one, _locate(one.repo, here)) for one in wanted.sources]
    base = fetch_repo(wanted.model, "model", here, Emitter(), wants_weights=False)
    tokenizer = _load_tokenizer(base.path, wanted.stage)
    renderer = Renderer(tokenizer, max_length=wanted.max_length)
    with tempfile.TemporaryDirectory(prefix="athanor-inspect-") as folder:
        how = Preparation(cache_dir=Path(folder))
        samples = read_samples(located, renderer, how, Emitter())
        if wanted.as_json:
            told = _tell(tokenizer, samples, wanted.num_rows)
            print(json.dumps(told.model_dump(mode="json"), ensure_ascii=False))
        else:
            _show(Console(), tokenizer, samples, wanted.num_rows)
        return 1 if samples.contract.total("num_bad") else 0


def run_inspect(spec: JobSpec, placement: Placement, emitter: Emitter, gate: StopGate) -> None:
    """Do an InspectSpec's work: render the first rows and report them.

    Raises:
        EngineError: the model or the data cannot be used so; the message says the mend.
    """
    assert isinstance(spec, InspectSpec)
    base = fetch_repo(spec.model, "model", placement, emitter, wants_weights=False)
    located = [
        Located(source, fetch_repo(source.repo, "dataset", placement, emitter).path)
        for source in spec.sources
    ]
    tokenizer = _load_tokenizer(base.path, spec.stage)
    renderer = Renderer(tokenizer, max_length=spec.max_length)
    with tempfile.TemporaryDirectory(prefix="inspect-", dir=_make_scratch(placement)) as folder:
        how = Preparation(cache_dir=Path(folder), most_rows=spec.most_rows)
        samples = read_samples(located, renderer, how, emitter)
        print(format_table(samples.contract), flush=True)
        told = _tell(tokenizer, samples, spec.num_samples, most_chars=_MOST_SHOWN_CHARS)
        files = [file for source in samples.contract.sources for file in source.files]
        is_whole = all(file.num_rows < spec.most_rows for file in files)
        emitter.preview(told.model_copy(update={"is_whole": is_whole}))


def cut_segments(tokenizer: PreTrainedTokenizerBase, sample: Rendered) -> list[Segment]:
    """Cut a sample into parts that count alike in the loss.

    A label that is not the id of its place is a part of its own: the end token, taught where the
    next turn begins.
    """
    segments: list[Segment] = []
    weights = [
        0.0 if label == IGNORED else (sample.weights[index] if sample.weights else 1.0)
        for index, label in enumerate(sample.labels)
    ]
    start = 0
    for end in range(1, len(sample.ids) + 1):
        if end < len(sample.ids) and _is_like(sample, weights, start, end):
            continue
        shown = sample.ids[start:end]
        if _teaches_other(sample, start):
            segments.append(_segment(tokenizer, [sample.labels[start]], weights[start]))
            segments.append(Segment(text=tokenizer.decode(shown), weight=0.0, num_tokens=0))
        else:
            segments.append(_segment(tokenizer, shown, weights[start]))
        start = end
    return segments


def paint_mask(tokenizer: PreTrainedTokenizerBase, sample: Rendered, *, marks: bool) -> Text:
    """Return a sample's text with what is learnt in bold green; `marks` puts it in [[ ]] too.

    What counts more or less than 1 is yellow, with its weight in front where there are marks.
    """
    text = Text()
    for segment in cut_segments(tokenizer, sample):
        piece, is_whole = segment.text, segment.weight == 1.0
        if segment.weight and marks:
            piece = f"[[{piece}]]" if is_whole else f"[[{segment.weight:g}: {piece}]]"
        colour = "green" if is_whole else "yellow"
        text.append(piece, style=f"bold {colour} underline" if segment.weight else "dim")
    return text


def _name_one(options: argparse.Namespace) -> Source:
    is_here = Path(options.path).exists()
    repo = str(Path(options.path).resolve()) if is_here else options.path
    try:
        return Source(repo=repo, format=options.format, split=options.split)
    except ValidationError as error:
        raise EngineError(Reason.BAD_SPEC, "\n".join(explain_problems(error))) from error


def _locate(ref: str, here: Placement) -> Path:
    if ref.startswith((".", "/")) and Path(ref).is_file():
        return Path(ref)
    return fetch_repo(ref, "dataset", here, Emitter()).path


def _load_tokenizer(folder: Path, stage: str) -> PreTrainedTokenizerBase:
    """Open a tokenizer; plain text needs no chat template."""
    return load_bare_tokenizer(folder) if stage == "pretrain" else load_tokenizer(folder)


def _segment(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], weight: float) -> Segment:
    return Segment(text=tokenizer.decode(ids), weight=weight, num_tokens=len(ids))


def _is_like(sample: Rendered, weights: Sequence[float], start: int, end: int) -> bool:
    is_other = _teaches_other(sample, start) or _teaches_other(sample, end)
    return weights[end] == weights[start] and not is_other


def _teaches_other(sample: Rendered, index: int) -> bool:
    return sample.labels[index] not in (IGNORED, sample.ids[index])


_Side = Literal["", "chosen", "rejected"]


def _iter_shown(samples: Samples, num_rows: int) -> Iterator[tuple[str, _Side, Rendered]]:
    """Yield file, side and sample of the first ones of each file; a side is empty but for pairs."""
    for name, sample in samples.iter_first(num_rows):
        if isinstance(sample, RenderedPair):
            yield name, "chosen", sample.chosen
            yield name, "rejected", sample.rejected
        else:
            yield name, "", sample


def _show(
    out: Console, tokenizer: PreTrainedTokenizerBase, samples: Samples, num_rows: int
) -> None:
    contract = samples.contract
    if contract.total("num_bad"):
        _show_problems(out, contract)
    if not len(samples):
        return
    out.print(format_table(contract), markup=False, highlight=False, soft_wrap=True)
    _show_counts(out, samples)
    for name, side, sample in _iter_shown(samples, num_rows):
        head = f"{name} row {sample.row + 1}" + (f", {side}" if side else "")
        out.rule(Text(head), align="left")
        out.print(paint_mask(tokenizer, sample, marks=not out.is_terminal), soft_wrap=True)


def _show_problems(out: Console, contract: DataContract) -> None:
    for file in (file for source in contract.sources for file in source.files if file.num_bad):
        out.print(f"{file.name}: {file.num_bad} of {file.num_rows} rows are bad.", markup=False)
        table = Table("line", "field", "problem", "mend")
        for problem in file.problems[:_MOST_PROBLEMS]:
            cells = (str(problem.line), problem.field, problem.problem, problem.mend)
            table.add_row(*map(Text, cells))
        out.print(table)
        told = {problem.line for problem in file.problems}
        if file.num_bad > len(told):
            out.print(f"... and {file.num_bad - len(told)} more rows.")


def _show_counts(out: Console, samples: Samples) -> None:
    contract, lengths = samples.contract, samples.lengths()
    num_tokens, num_learnt = (
        contract.total(count) for count in ("num_tokens", "num_supervised_tokens")
    )
    out.print(
        f"{contract.total('num_rows')} rows, {num_tokens} tokens "
        f"(median {np.median(lengths):.0f}, longest {lengths.max()}), "
        f"of which {num_learnt} ({num_learnt / max(1, num_tokens):.0%}) are learnt.",
        markup=False,
        highlight=False,
    )


def _tell(
    tokenizer: PreTrainedTokenizerBase,
    samples: Samples,
    num_rows: int,
    *,
    most_chars: int | None = None,
) -> Inspection:
    """Return what the launch page shows; `most_chars` of all samples together."""
    shown: list[ShownSample] = []
    left = most_chars
    for name, side, sample in _iter_shown(samples, num_rows):
        segments = cut_segments(tokenizer, sample)
        kept = segments if left is None else _shorten(segments, min(left, _MOST_SAMPLE_CHARS))
        shown.append(
            ShownSample(
                file=name,
                row=sample.row + 1,
                source=sample.source,
                side=side,
                num_tokens=len(sample.ids),
                segments=kept,
                is_cut=kept != segments,
            )
        )
        if left is not None:
            left -= sum(len(segment.text) for segment in kept)
            if left <= 0:
                break
    return Inspection(contract=samples.contract, samples=shown)


def _shorten(segments: list[Segment], most: int) -> list[Segment]:
    kept: list[Segment] = []
    for segment in segments:
        kept.append(segment.model_copy(update={"text": segment.text[:most]}))
        most -= len(segment.text)
        if most <= 0:
            break
    return kept


def _make_scratch(placement: Placement) -> Path:
    """Return the folder that preparing writes to, the one that a run in a container has."""
    folder = placement.run_dir / "data"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
