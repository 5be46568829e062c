"""Errors a person can mend, and the one shape they leave the API in: `{code, message, field, params}`."""

from typing import Any

import structlog
from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as ModelValidationError
from django.http import Http404
from pydantic import ValidationError as SpecValidationError
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

log = structlog.get_logger(__name__)


class StudioError(Exception):
    """Something the caller can mend. `message` is one English sentence; the browser translates `code`."""

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
        where = [str(part) for part in problem["loc"] if part not in {"train", "serve"}]
        field = ".".join([prefix, *where])
        context = {
            k: v for k, v in problem.get("ctx", {}).items() if isinstance(v, str | int | float)
        }
        message = f"{field}: {problem['msg'].removeprefix('Value error, ')}."
        bodies.append(to_body(problem["type"], message, field=field, params=context))
    return bodies


def _flatten(detail: Any, path: str = "") -> list[dict[str, Any]]:
    if isinstance(detail, dict):
        return [
            body
            for key, value in detail.items()
            for body in _flatten(
                value, "" if key == "non_field_errors" else f"{path}.{key}".strip(".")
            )
        ]
    if isinstance(detail, list):
        plain = all(not isinstance(item, dict | list) for item in detail)
        return [
            body
            for index, item in enumerate(detail)
            for body in _flatten(item, path if plain else f"{path}.{index}")
        ]
    sentence = f"{path}: {detail}" if path else str(detail)
    return [to_body(getattr(detail, "code", None) or "invalid", sentence, field=path or None)]


def _many(bodies: list[dict[str, Any]]) -> Response:
    first = bodies[0] if bodies else to_body("invalid", "The request cannot be read.")
    return Response({**first, "errors": bodies}, status=400)


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn an exception of an API view into its answer; None lets the server log a real fault as 500."""
    set_rollback()
    if isinstance(error, StudioError):
        body = to_body(error.code, error.message, field=error.field, params=error.params)
        return Response(body, status=error.status)
    if isinstance(error, SpecValidationError):
        return _many(spec_errors(error))
    if isinstance(error, ModelValidationError):
        return _many(
            _flatten(error.message_dict if hasattr(error, "error_dict") else error.messages)
        )
    if isinstance(error, exceptions.ValidationError):
        return _many(_flatten(error.detail))
    if isinstance(error, Http404):
        return Response(to_body("not_found", "There is nothing here that you may see."), status=404)
    if isinstance(error, exceptions.NotAuthenticated | exceptions.AuthenticationFailed):
        return Response(to_body("not_signed_in", str(error.detail)), status=401)
    if isinstance(error, PermissionDenied | exceptions.PermissionDenied):
        return Response(to_body("forbidden", str(error) or "You may not do this."), status=403)
    if isinstance(error, exceptions.APIException):
        code = error.get_codes()
        body = to_body(code if isinstance(code, str) else "refused", str(error.detail))
        return Response(body, status=error.status_code)
    return None
