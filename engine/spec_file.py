"""Spec files on disk: read YAML, set fields by name, say what is wrong, a sentence per problem."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from engine.errors import EngineError
from engine.specs import JOB_SPEC, JobSpec
from engine.status import Reason


def read_spec(path: Path, kind: str, overrides: list[str]) -> JobSpec:
    """Read a spec of one kind; `overrides` are `field=value`, with dots for inner fields.

    Raises:
        EngineError: with one sentence per problem, each on its own line.
    """
    body = _read_yaml(path)
    body.setdefault("kind", kind)
    if body["kind"] != kind:
        raise _bad(f"kind: this is a {body['kind']} spec; run `python -m engine {body['kind']}`.")
    for override in overrides:
        _set_field(body, override)
    try:
        return JOB_SPEC.validate_python(body)
    except ValidationError as error:
        raise _bad("\n".join(explain_problems(error))) from error


def explain_problems(error: ValidationError) -> list[str]:
    """Turn a validation error into sentences that name the field and the mend."""
    return [_explain(problem) for problem in error.errors(include_url=False)]


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        body = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _bad(f"{path}: {error.strerror}; give the path of a spec file.") from error
    except UnicodeDecodeError as error:
        raise _bad(f"{path} is not UTF-8; save it as UTF-8.") from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" (line {where.line + 1}: {getattr(error, 'problem', '')})" if where else ""
        raise _bad(f"{path} is not YAML{line}; write one `field: value` a line.") from error
    if not isinstance(body, dict):
        raise _bad(f"{path} holds no fields; write one `field: value` a line.")
    return body


def _set_field(body: dict[str, Any], override: str) -> None:
    name, separator, text = override.partition("=")
    if not separator or not name:
        raise _bad(f"--set {override}: write field=value, such as --set lora.rank=8.")
    *outer, last = name.split(".")
    for part in outer:
        body = body.setdefault(part, {})
        if not isinstance(body, dict):
            raise _bad(f"{name}: {part} is no group of fields; remove the dot.")
    try:
        body[last] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise _bad(f"{name}: {text!r} is not a YAML value; quote it.") from error


# The tag that pydantic puts before a field of a spec.
_KINDS = ("train", "quantize", "serve", "script", "inspect")
# What pydantic calls a problem -> our sentence. Braces are filled from its context.
_MENDS = {
    "missing": "is missing: add it.",
    "extra_forbidden": "is no field of this spec: remove it or mend its spelling.",
    "greater_than": "must be more than {gt}.",
    "greater_than_equal": "must be at least {ge}.",
    "less_than": "must be less than {lt}.",
    "less_than_equal": "must be at most {le}.",
    "int_parsing": "must be a whole number.",
    "int_from_float": "must be a whole number.",
    "int_type": "must be a whole number.",
    "float_parsing": "must be a number.",
    "float_type": "must be a number.",
    "string_type": "must be text: put it in quotes.",
    "literal_error": "must be one of {expected}.",
    "string_too_long": "must have at most {max_length} characters.",
    "too_short": "must have at least {min_length} entries.",
    "too_long": "must have at most {max_length} entries.",
}


def _explain(problem: Any) -> str:
    path = [str(part) for part in problem["loc"]]
    name = ".".join(path[1:] if path[:1] and path[0] in _KINDS else path)
    context = {key: _plain(value) for key, value in problem.get("ctx", {}).items()}
    mend = _MENDS.get(problem["type"])
    if mend is None:
        text = str(context.get("error") or problem["msg"])
        mend = text[0].lower() + text[1:] + "."
    sentence = f"{name}: {mend.format(**context)}" if name else mend.format(**context)
    given = problem["input"]
    if isinstance(given, str | int | float) and problem["type"] != "extra_forbidden":
        sentence = f"{sentence[:-1]} (you gave {str(given)[:60]})."
    return sentence


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _bad(message: str) -> EngineError:
    return EngineError(Reason.BAD_SPEC, message)
