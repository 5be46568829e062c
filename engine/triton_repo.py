"""`python -m engine triton-repo SPEC OUT`: a Triton Inference Server model repository of a spec.

Triton runs it with the Python backend, in an environment that has this engine. Config fields:
github.com/triton-inference-server/common, model_config.proto.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from engine.errors import EngineError
from engine.spec_file import read_spec
from engine.specs import ServeSpec
from engine.status import Reason

NAME = "athanor"
_CONFIG = """\
# Made by `python -m engine triton-repo` for {model}.
name: "{name}"
backend: "python"
max_batch_size: 0  # the engine batches by itself
model_transaction_policy {{ decoupled: true }}
input [
  # A text that is continued as it is,
  {{ name: "text_input" data_type: TYPE_STRING dims: [ 1 ] optional: true }},
  # or a conversation: the JSON of OpenAI's `messages`.
  {{ name: "messages" data_type: TYPE_STRING dims: [ 1 ] optional: true }},
  # The base or one of its adapters.
  {{ name: "model" data_type: TYPE_STRING dims: [ 1 ] optional: true }},
  {{ name: "stream" data_type: TYPE_BOOL dims: [ 1 ] optional: true }},
  # A JSON object of parameters, by OpenAI's names.
  {{ name: "sampling_parameters" data_type: TYPE_STRING dims: [ 1 ] optional: true }}
]
output [
  {{ name: "text_output" data_type: TYPE_STRING dims: [ 1 ] }},
  {{ name: "finish_reason" data_type: TYPE_STRING dims: [ 1 ] }}
]
instance_group [ {{ count: 1 kind: KIND_AUTO }} ]
"""
_HUB = """\
# The hub that the models come from.
parameters {{ key: "hub" value {{ string_value: {hub} }} }}
"""
_MODEL = '''\
"""Made by `python -m engine triton-repo`. Triton's Python needs this engine installed."""

from engine.serve.triton_model import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''


def write_repository(
    spec_path: Path, out: Path, changes: Sequence[str] = (), *, hub_url: str | None = None
) -> Path:
    """Write a repository with one model, and return the model's folder.

    `hub_url` is where Triton fetches the spec's models from; None is the Hugging Face Hub.

    Raises:
        EngineError: the spec is wrong, or the folder is not empty.
    """
    spec = read_spec(spec_path, "serve", list(changes))
    assert isinstance(spec, ServeSpec)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise EngineError(Reason.BAD_SPEC, f"{out} is not empty; name a new folder.")
    model = out / NAME
    version = model / "1"
    version.mkdir(parents=True)
    config = _CONFIG.format(name=NAME, model=spec.model)
    if hub_url is not None:
        config += _HUB.format(hub=json.dumps(hub_url))
    (model / "config.pbtxt").write_text(config)
    (version / "model.py").write_text(_MODEL)
    here = {"model": _anchor(spec.model), "adapters": tuple(map(_anchor, spec.adapters))}
    (version / "spec.json").write_text(spec.model_copy(update=here).model_dump_json(indent=2))
    print(f"Written to {out}: start Triton with --model-repository={out.resolve()}")
    return model


def _anchor(ref: str) -> str:
    """Return a folder as it is found from wherever Triton runs; a repo's name as it is."""
    return str(Path(ref).resolve()) if ref.startswith(".") else ref
