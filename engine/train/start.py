"""What a training starts from: a model that was fetched, or the makings of one that is new."""

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from engine.data.bpe import train_tokenizer
from engine.data.prepare import Located
from engine.emitter import Emitter
from engine.hub import Resolved, fetch_repo
from engine.models.load import load_bare_tokenizer, load_tokenizer
from engine.models.scratch import write_start
from engine.specs import Placement, TrainSpec
from engine.specs.scratch import ScratchOptions
from engine.train.mesh import Mesh

NEW = "a new model"


def open_start(
    spec: TrainSpec,
    sources: Sequence[Located],
    placement: Placement,
    mesh: Mesh,
    emitter: Emitter,
) -> Resolved:
    """Return the folder that the model begins as, fetched or made below the run's folder.

    A new one's holds config and tokenizer; the first process makes it, and all come back with it.

    Raises:
        EngineError: it cannot be had, or no tokenizer can be trained on the sources.
    """
    scratch = spec.from_scratch
    if scratch is None:
        return fetch_repo(spec.model, "model", placement, emitter)
    folder = placement.run_dir / "data" / "start"
    if mesh.is_first:
        write_start(folder, scratch, _find_tokenizer(scratch, sources, placement, emitter))
    mesh.agree(False)  # the others go on once it is there
    return Resolved(ref=NEW, path=folder)


def open_tokenizer(folder: Path, spec: TrainSpec) -> PreTrainedTokenizerBase:
    """Open the tokenizer of a start; plain text needs no chat template."""
    return load_bare_tokenizer(folder) if spec.stage == "pretrain" else load_tokenizer(folder)


def _find_tokenizer(
    scratch: ScratchOptions, sources: Sequence[Located], placement: Placement, emitter: Emitter
) -> PreTrainedTokenizerBase:
    if scratch.tokenizer_from is not None:
        taken = fetch_repo(scratch.tokenizer_from, "model", placement, emitter)
        return load_bare_tokenizer(taken.path)
    emitter.progress("tokenizer", 0, 1)
    print(f"Training a tokenizer of {scratch.tokenizer.vocab_size} tokens", flush=True)
    tokenizer = train_tokenizer(sources, scratch.tokenizer)
    print(f"It has {len(tokenizer)} tokens", flush=True)
    emitter.progress("tokenizer", 1, 1)
    return tokenizer
