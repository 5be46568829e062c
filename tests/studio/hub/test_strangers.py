"""Every address of a repo, asked by everybody: one table says what each of them hears."""

import itertools
import json

import pytest

from studio.accounts.models import Organization, OrganizationMember
from studio.hub.models import AccessRequest, Repo
from tests.factories import make_user
from tests.studio.asgi import make_token
from tests.studio.hub.made import push

BIG = bytes(range(256)) * 5000

# What one must be allowed to do, method and address; {r} is the repo.
SEES = [
    ("GET", "/api/models/{r}"),
    ("GET", "/api/models/{r}/revision/main"),
    ("GET", "/api/models/{r}/tree/main"),
    ("GET", "/api/models/{r}/refs"),
    ("GET", "/api/models/{r}/commits/main"),
    ("POST", "/api/models/{r}/paths-info/main"),
    ("GET", "/api/hub/repos/model/{r}/"),
]
READS = [
    ("GET", "/{r}/resolve/main/m.bin"),
    ("HEAD", "/{r}/resolve/main/README.md"),
    ("GET", "/api/models/{r}/xet-read-token/main"),
    ("GET", "/api/models/{r}/auth-check"),
]
WRITES = [
    ("GET", "/api/models/{r}/xet-write-token/main"),
    ("POST", "/api/models/{r}/commit/main"),
    ("POST", "/api/models/{r}/branch/{new}"),
    ("POST", "/api/models/{r}/super-squash/main"),
    ("POST", "/{r}.git/info/lfs/objects/batch"),
]
MANAGES = [
    ("PUT", "/api/models/{r}/settings"),
    ("PATCH", "/api/hub/repos/model/{r}/"),
    ("GET", "/api/models/{r}/user-access-request/pending"),
]
BODIES = {
    "paths-info": {"paths": ["m.bin"]},
    "batch": {"operation": "upload", "objects": []},
    "PUT": {},
}


@pytest.fixture
def people(alice, bob, carol):
    """alice owns; bob shares her class; carol is a stranger; gus was let in, whatever the gate."""
    camp = Organization.objects.create(name="camp")
    for user in (alice, bob):
        OrganizationMember.objects.create(organization=camp, user=user)
    return {"owner": alice, "mate": bob, "stranger": carol, "let in": make_user("gus")}


def rights(person: str, visibility: str, gate: str) -> str:
    """The table: what somebody is to a repo."""
    if person == "owner":
        return "manage"
    sees = visibility == "public" or (visibility == "class" and person == "mate")
    if not sees:
        return "nothing"
    return "read" if not gate or person == "let in" else "see"


EXPECTED = {  # by right: what seeing, reading, writing and managing answers
    "nothing": (404, 404, 404, 404),
    "see": (200, 403, 403, 403),
    "read": (200, 200, 403, 403),
    "manage": (200, 200, 200, 200),
}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("visibility", "gate"), itertools.product(["public", "class", "private"], ["", "manual"])
)
def test_everybody_hears_what_the_table_says(client, people, visibility, gate):
    push(people["owner"], "alice/r", {"m.bin": BIG, "README.md": b"# R\n"}, kind="model")
    Repo.objects.update(visibility=visibility, gate=gate)
    AccessRequest.objects.create(repo=Repo.objects.get(), user=people["let in"], state="accepted")
    for person, user in people.items():
        expected = EXPECTED[rights(person, visibility, gate)]
        headers = {"Authorization": f"Bearer {make_token(user)}"}
        for addresses, status in zip((SEES, READS, WRITES, MANAGES), expected, strict=True):
            for method, address in addresses:
                got = ask(client, method, address, f"new-{person[0]}", headers)
                said = (person, visibility, gate, method, address, got.status_code)
                if status == 200:
                    assert got.status_code < 300 or _is_refused_for_its_body(got), said
                else:
                    assert got.status_code == status, said


def ask(client, method: str, address: str, new: str, headers: dict[str, str]):
    path = address.format(r="alice/r", new=new)
    body = next((body for word, body in BODIES.items() if word in address or word == method), {})
    if "commit/" in address:
        line = '{"key": "header", "value": {"summary": "x"}}'
        return client.post(path, data=line, content_type="application/x-ndjson", headers=headers)
    options = {} if method in {"GET", "HEAD"} else {"data": body}
    return client.generic(
        method, path, **_encode(options), headers=headers, content_type="application/json"
    )


def _encode(options: dict) -> dict:
    return {"data": json.dumps(options["data"])} if "data" in options else {}


def _is_refused_for_its_body(answer) -> bool:
    """The door was open, and what came through it was not fit."""
    return answer.status_code == 400
