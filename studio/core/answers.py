"""How an exception of an API view leaves it: an error of the one shape, with the right status."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as ModelValidationError
from django.http import Http404
from pydantic import ValidationError as SpecValidationError
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from studio.core.errors import NotFound, StudioError, spec_errors, to_body

_WHOLE = {"non_field_errors", "__all__"}


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return the answer to an exception; None lets the server log a real fault as 500."""
    response = _answer(error)
    if response is not None:
        set_rollback()
    return response


def _answer(error: Exception) -> Response | None:
    if isinstance(error, StudioError):
        body = to_body(error.code, error.message, field=error.field, params=error.params)
        return Response(body, status=error.status)
    if isinstance(error, SpecValidationError):
        return _many(spec_errors(error))
    if isinstance(error, ModelValidationError):
        return _many(_flatten_model(error))
    if isinstance(error, exceptions.ValidationError):
        return _many(_flatten(error.detail))
    if isinstance(error, Http404 | exceptions.NotFound):
        return _answer(NotFound())
    if isinstance(error, PermissionDenied):
        return _one("forbidden", str(error) or "You may not do this.", 403)
    if isinstance(error, exceptions.APIException):
        return _answer_framework(error)
    return None


def _answer_framework(error: exceptions.APIException) -> Response:
    message = str(error.detail)
    if isinstance(error, exceptions.NotAuthenticated):
        return _one("not_signed_in", "Sign in, or send an API token.", 401, error)
    if isinstance(error, exceptions.AuthenticationFailed):
        return _one("not_signed_in", message, 401, error)
    if isinstance(error, exceptions.PermissionDenied):
        return _one("forbidden", message, 403)
    if isinstance(error, exceptions.Throttled):
        return _one("throttled", "Too many requests: wait a moment and try again.", 429, error)
    if isinstance(error, exceptions.UnsupportedMediaType):
        return _one("bad_media_type", f"{message} Send application/json.", 415)
    code = error.get_codes()
    return _one(code if isinstance(code, str) else "refused", message, error.status_code)


def _one(
    code: str, message: str, status: int, error: exceptions.APIException | None = None
) -> Response:
    params, headers = {}, {}
    if wait_s := getattr(error, "wait", None):
        params["wait_s"] = int(wait_s) + 1
        headers["Retry-After"] = str(params["wait_s"])
    if auth_header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = auth_header
    return Response(to_body(code, message, params=params), status=status, headers=headers)


def _many(bodies: list[dict[str, Any]]) -> Response:
    first = bodies[0] if bodies else to_body("invalid", "The request cannot be read.")
    return Response({**first, "errors": bodies}, status=400)


def _flatten_model(error: ModelValidationError) -> list[dict[str, Any]]:
    by_field = error.error_dict if hasattr(error, "error_dict") else {"": error.error_list}
    return [
        _body(str(problem.messages[0]), "" if field in _WHOLE else field, problem.code)
        for field, problems in by_field.items()
        for problem in problems
    ]


def _flatten(detail: Any, path: str = "") -> list[dict[str, Any]]:
    if isinstance(detail, dict):
        return [
            body
            for key, value in detail.items()
            for body in _flatten(value, path if key in _WHOLE else f"{path}.{key}".strip("."))
        ]
    if isinstance(detail, list):
        plain = all(not isinstance(item, dict | list) for item in detail)
        return [
            body
            for index, item in enumerate(detail)
            for body in _flatten(item, path if plain else f"{path}.{index}")
        ]
    return [_body(str(detail), path, getattr(detail, "code", None))]


def _body(message: str, path: str, code: str | None) -> dict[str, Any]:
    """Return one problem; a constraint's own sentence names its field itself."""
    field, is_named, _ = message.partition(": ")
    if not path and is_named and field.isidentifier():
        return to_body(code or "invalid", message, field=field)
    return to_body(code or "invalid", f"{path}: {message}" if path else message, field=path or None)
