"""The verb `data tokenizer`: trains a tokenizer on a dataset's words and writes it into a folder."""

import argparse
from pathlib import Path

import yaml
from pydantic import ValidationError

from engine.data.bpe import train_tokenizer
from engine.data.prepare import Located
from engine.emitter import Emitter
from engine.errors import EngineError
from engine.hub import fetch_repo
from engine.spec_file import explain_problems
from engine.specs import Placement
from engine.specs.scratch import TokenizerOptions
from engine.specs.sources import Source
from engine.status import Reason


def make_from_options(options: argparse.Namespace) -> None:
    """Do what the command line asks; the folder appears when the tokenizer is whole.

    Raises:
        EngineError: there is no such dataset, the folder is not new, or an option is wrong.
    """
    out: Path = options.out
    if out.exists():
        raise EngineError(Reason.BAD_SPEC, f"out: {out} is there already; name a new folder.")
    wanted = read_options(options.options, options.vocab_size)
    here = Placement(run_dir=Path.cwd(), hub_url=options.hub)
    path = fetch_repo(options.path, "dataset", here, Emitter()).path
    source = Source(repo=options.path, format=options.format, split=options.split)
    tokenizer = train_tokenizer([Located(source, path)], wanted)
    tokenizer.save_pretrained(out)
    print(f"{out}: a tokenizer of {len(tokenizer)} tokens")


def read_options(path: Path | None, vocab_size: int | None) -> TokenizerOptions:
    """Read the fields of a tokenizer from YAML; a size that is named goes before the file's.

    Raises:
        EngineError: bad_spec, a sentence for each problem.
    """
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8")) if path else {}
        if not isinstance(body, dict):
            raise EngineError(Reason.BAD_SPEC, f"options: {path} holds no fields: write some.")
        if vocab_size is not None:
            body["vocab_size"] = vocab_size
        return TokenizerOptions.model_validate(body)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        told = str(error).splitlines()[0]
        raise EngineError(Reason.BAD_SPEC, f"options: {path} cannot be read ({told}).") from error
    except ValidationError as error:
        raise EngineError(Reason.BAD_SPEC, "\n".join(explain_problems(error))) from error
