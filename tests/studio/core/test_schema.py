"""The API's own description."""

import pytest
from drf_spectacular.generators import SchemaGenerator


@pytest.fixture(scope="module")
def schema() -> dict:
    return SchemaGenerator().get_schema(request=None, public=True)


def test_the_doors_of_other_protocols_are_left_out(schema):
    assert "/api/me/" in schema["paths"]
    assert not [path for path in schema["paths"] if path.startswith(("/v1/", "/api/internal/"))]


def test_every_door_says_how_it_refuses(schema):
    for path, door in schema["paths"].items():
        for operation in door.values():
            answers = operation["responses"]
            assert answers["4XX"]["content"]["application/json"]["schema"], path


def test_every_door_says_how_to_sign_in(schema):
    schemes = schema["components"]["securitySchemes"]
    assert set(schemes) >= {"personalToken", "browserSession"}


def test_every_body_that_is_answered_has_a_shape(schema):
    for path, door in schema["paths"].items():
        for method, operation in door.items():
            for status, answer in operation["responses"].items():
                if status.startswith("2") and status != "204":
                    assert answer.get("content"), f"{method} {path} {status}"
