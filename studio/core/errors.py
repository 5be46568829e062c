"""Errors a person can mend, and their one shape: `{code, message, field, params}`.

Not how they leave the API: that is `answers`.
"""

from typing import Any

from pydantic import ValidationError as SpecValidationError

from studio.core.sentences import find_told

# The tag that pydantic puts before a field of a job's spec.
_KINDS = ("train", "serve", "script", "inspect")


class StudioError(Exception):
    """Something the caller can mend: one English sentence, and a code that browsers translate."""

    code = "refused"
    status = 400

    def __init__(
        self, message: str, *, field: str | None = None, code: str | None = None, **params: Any
    ) -> None:
        """Name the field where there is one; `params` are the numbers and names in the sentence."""
        super().__init__(message)
        self.message = message
        self.field = field
        self.params = params
        self.code = code or self.code


class BadInput(StudioError):
    """A field holds what it may not."""

    code = "bad_input"


class NotFound(StudioError):
    """It is not there, or not the caller's to know of."""

    code = "not_found"
    status = 404

    def __init__(
        self, message: str = "There is nothing here that you may see.", **params: Any
    ) -> None:
        """Say nothing of what exists for others."""
        super().__init__(message, **params)


class Forbidden(StudioError):
    """The caller may know of it but not do this."""

    code = "forbidden"
    status = 403


class Conflict(StudioError):
    """It cannot be done in the present state."""

    code = "conflict"
    status = 409


class TooBig(StudioError):
    """More bytes than this door takes."""

    code = "too_big"
    status = 413


class Unavailable(StudioError):
    """A part of the platform is away; try again."""

    code = "unavailable"
    status = 503


def to_body(
    code: str, message: str, *, field: str | None = None, params: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the one shape of an error."""
    return {"code": code, "message": message, "field": field, "params": params or {}}


def spec_errors(error: SpecValidationError, *, prefix: str = "spec") -> list[dict[str, Any]]:
    """Return one error body per problem pydantic found, its field as a dotted path."""
    bodies = []
    for problem in error.errors(include_url=False, include_input=False):
        where = [str(part) for part in problem["loc"]]
        where = where[1:] if where[:1] and where[0] in _KINDS else where
        field = ".".join([prefix, *where])
        context: dict[str, Any] = {
            k: v for k, v in problem.get("ctx", {}).items() if isinstance(v, str | int | float)
        }
        sentence = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "value_error":
            context["why"] = {"message": sentence, "told": find_told(sentence)}
        message = f"{field}: {sentence}."
        bodies.append(to_body(problem["type"], message, field=field, params=context))
    return bodies
