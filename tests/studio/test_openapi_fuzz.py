"""Whatever a caller sends to the doors of hub, drive and labelling, no answer is a 500.

Requests are drawn from our own OpenAPI description by schemathesis, half of their names replaced by
those of things that exist. `ATHANOR_FUZZ_EXAMPLES` draws more of them for each operation.
"""

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import content_type_conformance, not_a_server_error
from schemathesis.specs.openapi.checks import response_schema_conformance

from studio.accounts.models import Membership, Organization, OrganizationMember
from studio.drive.spaces import home_path
from studio.hub.models import Kind, Visibility
from tests.studio.asgi import make_token
from tests.studio.drive.conftest import body_of
from tests.studio.hub.made import make_row, push

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = int(os.environ.get("ATHANOR_FUZZ_EXAMPLES", "6"))
OURS = (
    "/api/hub/",
    "/api/organizations/",
    "/api/drive/",
    "/api/labelling/",
    "/api/node-share/",
    "/api/imports/",
)
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
SCHEMA = schemathesis.openapi.from_dict(json.loads((ROOT / "frontend/openapi.json").read_text()))
SCOPES = {"owner": ["write"], "stranger": ["write"], "administrator": ["admin"]}
KNOWN: dict[str, list[Any]] = {
    "namespace": ["alice", "camp", "bob"],
    "name": ["talk", "tiny", "notes.txt", "camp"],
    "username": ["alice", "bob"],
    "repo": ["alice/talk", "alice/tiny"],
    "dataset": ["alice/talk"],
    "kind": ["model", "dataset", "review", "rank", "spans"],
    "revision": ["main", "0" * 40],
    "path": ["train.jsonl", "README.md", "notes.txt", "folder", "folder/in.txt", "", "/", ".."],
    "paths": [["notes.txt"], ["folder"], ["folder", "notes.txt"]],
    "to": ["folder", "", "new"],
    "folder": ["", "folder"],
    "offset": [0, 1, 2**40],
    "page": [1, 2, 10**9],
    "format": ["sft", "preference", "jsonl"],
}


@pytest.fixture(scope="module")
def operations() -> list[Any]:
    """Every operation of the parts that this test is about."""
    found = [result.ok() for result in SCHEMA.get_all_operations()]
    return [operation for operation in found if operation.path.startswith(OURS)]


@pytest.fixture
def furnished(alice, bob, settings, tmp_path) -> None:
    """Some of everything, alice's."""
    settings.HUB_DIR, settings.DRIVE_DIR = tmp_path / "hub", tmp_path / "drive"
    settings.DRIVE_DIR.mkdir()
    settings.CELERY_TASK_ALWAYS_EAGER = True
    rows = "\n".join(make_row(f"问 {n}", f"answer {n}") for n in range(5)).encode()
    push(alice, "alice/talk", {"train.jsonl": rows, "README.md": b"# Talk"})
    push(alice, "alice/tiny", {"config.json": b"{}"}, kind=Kind.MODEL, visibility=Visibility.PUBLIC)
    camp = Organization.objects.create(name="camp")
    OrganizationMember.objects.create(organization=camp, user=alice, role=Membership.ADMIN)
    client = Client(headers={"Authorization": f"Bearer {make_token(alice)}"})
    for path, content in (("notes.txt", b"hello"), ("folder/in.txt", b"inside")):
        file = home_path(alice) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    body = {"dataset": "alice/talk", "kind": "review", "name": "Review"}
    made = client.post("/api/labelling/projects/", body, content_type="application/json")
    KNOWN["project_id"] = [made.json()["id"]]


@pytest.fixture(scope="module")
def drawn(operations) -> dict[str, list[tuple[Any, int]]]:
    """Requests for each operation, each with a seed: the same for every caller, so drawn once."""
    return {operation.label: draw(operation) for operation in operations}


@pytest.mark.django_db
@pytest.mark.parametrize("who", ["owner", "stranger", "administrator", "nobody"])
def test_no_request_is_answered_by_a_500(who, drawn, furnished, alice, carol, adam):
    caller = {"owner": alice, "stranger": carol, "administrator": adam}.get(who)
    headers = {"Authorization": f"Bearer {make_token(caller, SCOPES[who])}"} if caller else {}
    client = Client(headers=headers, raise_request_exception=False)
    faults: dict[str, None] = {}
    for label, cases in drawn.items():
        for case, seed in cases:
            with named(case, random.Random(seed)):
                for fault in check(client, case):
                    faults[f"{label}: {fault}"[:1500]] = None
    assert not faults, "\n\n".join(faults)


def draw(operation: Any) -> list[tuple[Any, int]]:
    cases: list[tuple[Any, int]] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), seed=st.integers(0, 2**32))
    def take(case: Any, seed: int) -> None:
        cases.append((case, seed))

    take()
    return cases


@contextmanager
def named(case: Any, chance: random.Random) -> Iterator[None]:
    """Have half of a case's names be those of things that exist; after it they are as drawn."""
    drawn = []
    for part in (case.path_parameters, case.query, case.body):
        if isinstance(part, dict):
            for name in sorted(part.keys() & KNOWN.keys()):
                if chance.random() < 0.7:
                    drawn.append((part, name, part[name]))
                    part[name] = chance.choice(KNOWN[name])
    yield
    for part, name, value in drawn:
        part[name] = value


def check(client: Client, case: Any) -> list[str]:
    """Send one request, and return what is wrong with the answer."""
    wanted = requests.Request(**case.as_transport_kwargs(base_url="http://testserver")).prepare()
    body = wanted.body or b""
    answer = client.generic(
        str(wanted.method),
        str(wanted.path_url),
        body.encode() if isinstance(body, str) else body,
        content_type=wanted.headers.get("Content-Type", "application/json"),
    )
    got = schemathesis.Response(
        status_code=answer.status_code,
        headers={name: [value] for name, value in answer.headers.items()},
        content=body_of(answer),
        request=wanted,
        elapsed=0.0,
        verify=False,
    )
    try:
        case.validate_response(got, checks=CHECKS)
    except BaseExceptionGroup as group:
        return [str(error) for error in group.exceptions]
    except AssertionError as error:
        return [str(error)]
    return []
