"""How a request is read: strict JSON, and serializers that refuse what they do not know."""

import codecs
import json
import math
from collections.abc import Mapping
from typing import Any, Protocol

from rest_framework import serializers
from rest_framework.parsers import BaseParser

from studio.core.errors import BadInput, TooBig

MOST_BODY_BYTES = 16 * 2**20


class BadJson(BadInput):
    """The body is not JSON that can be kept."""

    code = "bad_json"


class Readable(Protocol):
    """A file, or a request, which reads like one."""

    def read(self, size: int, /) -> bytes:
        """Return that many bytes, or fewer at the end."""
        ...


def read_body(stream: Readable, most_bytes: int = MOST_BODY_BYTES) -> bytes:
    """Return a request's body, of which no more than that is ever in memory.

    Raises:
        TooBig: it is longer.
    """
    body = stream.read(most_bytes + 1)
    if len(body) > most_bytes:
        raise TooBig(f"The body has more than {most_bytes} bytes: send less at once.")
    return body


class JsonParser(BaseParser):
    """JSON without what no database keeps: NUL characters, half surrogate pairs, NaN."""

    media_type = "application/json"

    def parse(
        self,
        stream: Readable,
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return the body's value.

        Raises:
            BadJson: it is not JSON in UTF-8, nests too deep, or holds text that cannot be kept.
            TooBig: it has more than 16 MiB.
        """
        body = read_body(stream).removeprefix(codecs.BOM_UTF8)
        try:
            value = json.loads(body.decode(), parse_float=_read_float, parse_constant=_read_float)
        except UnicodeDecodeError as error:
            raise BadJson("The body is not UTF-8: send JSON in UTF-8.") from error
        except json.JSONDecodeError as error:
            raise BadJson(
                f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
                line=error.lineno,
                column=error.colno,
            ) from error
        except RecursionError as error:
            raise BadJson("The body nests too deep: send flatter JSON.") from error
        except ValueError as error:  # a number of thousands of digits
            raise BadJson(f"The body holds a number that cannot be read: {error}.") from error
        _check_texts(value)
        return value


def read_input(
    serializer: type[serializers.Serializer[Any]], data: Any, *, partial: bool = False
) -> dict[str, Any]:
    """Return the validated fields of a request.

    Raises:
        BadInput: it holds a field the serializer does not know.
        ValidationError: a field holds what it may not.
    """
    given = serializer(data=data, partial=partial)
    if isinstance(data, dict) and (unknown := set(data) - set(given.fields)):
        name = min(unknown)
        raise BadInput(
            f"{name}: there is no such field; there is {', '.join(given.fields)}.",
            field=name,
            code="unknown_field",
        )
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


def _read_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise BadJson(f"The body holds {digits[:40]}, which is no number that can be kept.")
    return number


def _check_texts(value: Any) -> None:
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            todo += item.keys()
            todo += item.values()
        elif isinstance(item, list):
            todo += item
        elif isinstance(item, str):
            _check_text(item)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise BadJson("The body holds a NUL character (\\u0000): leave it out.")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise BadJson("The body holds half of a surrogate pair (\\ud800 to \\udfff): leave it out.")
