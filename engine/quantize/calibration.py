"""The windows of text that a quantization reads: some to calibrate, others, of other rows, to
measure on.

W windows, T positions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.data.prepare import Located, Preparation, read_samples
from engine.data.render import Renderer
from engine.data.samples import get_sides
from engine.emitter import Emitter
from engine.errors import EngineError
from engine.models.load import load_bare_tokenizer
from engine.specs.quantize import QuantizeSpec
from engine.specs.sources import Source
from engine.status import Reason

SHIPPED = Path(__file__).parent / "calibration.jsonl"
_HELD_OUT_EVERY = 4  # of the rows, in an order that the seed draws
_LONGEST_ROW = 2**20


@dataclass(frozen=True)
class Windows:
    """Token ids, whole windows without padding."""

    calibration_WT: Tensor
    held_out_WT: Tensor


def make_windows(
    spec: QuantizeSpec,
    model: Path,
    sources: Sequence[Located],
    scratch: Path,
    emitter: Emitter,
    *,
    most_positions: int,
) -> Windows:
    """Render the sources, or the shipped set, and cut them into windows.

    A row is wholly in the calibration or wholly held out.

    Raises:
        EngineError: bad_data, for rows too few or unreadable; bad_spec, for windows longer than the
            model's own.
    """
    if spec.length > most_positions:
        raise EngineError(
            Reason.BAD_SPEC,
            f"length: the model reads {most_positions} tokens at most: lower it to that or less "
            f"(you gave {spec.length}).",
        )
    located = sources or [Located(Source(repo=str(SHIPPED)), SHIPPED)]
    renderer = Renderer(load_bare_tokenizer(model), max_length=_LONGEST_ROW)
    samples = read_samples(located, renderer, Preparation(cache_dir=scratch), emitter)
    if not len(samples):
        raise EngineError(Reason.BAD_DATA, "dataset: none of its rows can be read: bring others.")
    generator = torch.Generator().manual_seed(spec.seed)
    order = torch.randperm(len(samples), generator=generator).tolist()
    held = order[::_HELD_OUT_EVERY]
    kept = [index for place, index in enumerate(order) if place % _HELD_OUT_EVERY]

    def list_ids(rows: Sequence[int]) -> Iterator[int]:
        for index in rows:
            for side in get_sides(samples[index]):
                yield from side.ids

    calibration = _cut(list_ids(kept), spec.num_samples, spec.length)
    held_out = _cut(list_ids(held), spec.num_held_out, spec.length)
    _check(spec, calibration, held_out)
    return Windows(calibration, held_out)


def _cut(ids: Iterator[int], most: int, length: int) -> Tensor:
    """Return the first windows of what flows by, W x T."""
    windows: list[list[int]] = []
    window: list[int] = []
    for index in ids:
        window.append(index)
        if len(window) == length:
            windows.append(window)
            window = []
            if len(windows) == most:
                break
    return torch.tensor(windows, dtype=torch.long).reshape(-1, length)


def _check(spec: QuantizeSpec, calibration_WT: Tensor, held_out_WT: Tensor) -> None:
    for what, windows, wanted, field in (
        ("calibration", calibration_WT, spec.num_samples, "num_samples"),
        ("measuring", held_out_WT, spec.num_held_out, "num_held_out"),
    ):
        if not len(windows):
            raise EngineError(
                Reason.BAD_DATA,
                f"dataset: its rows hold no whole window of {spec.length} tokens for {what}: lower "
                "length or bring more rows.",
            )
        if len(windows) < wanted:
            print(
                f"The rows hold {len(windows)} windows of {spec.length} tokens for {what}, "
                f"{field} asks for {wanted}: these are used.",
                flush=True,
            )
