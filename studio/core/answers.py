"""How an exception of an API view leaves it: as an error of the one shape, with the right status."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as ModelValidationError
from django.http import Http404
from pydantic import ValidationError as SpecValidationError
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import set_rollback

from studio.core.errors import StudioError, spec_errors, to_body


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
