"""Every address of a repo, asked by everybody: one table says what each of them hears."""

import itertools
import json

import pytest

from studio.accounts.models import Organization, OrganizationMember
from studio.hub.models import AccessRequest, Repo
from tests.factories import make_user
from tests.studio.asgi import make_token
from tests.studio.hub.made import make_row, push

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
    "write": (200, 200, 200, 403),
    "manage": (200, 200, 200, 200),
}


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("visibility", "gate"), list(itertools.product(["public", "class", "private"], ["", "manual"]))
)
def test_everybody_hears_what_the_table_says(client, people, visibility, gate):
    push(people["owner"], "alice/r", {"m.bin": BIG, "README.md": b"# R\n"}, kind="model")
    Repo.objects.update(visibility=visibility, gate=gate)
    AccessRequest.objects.create(repo=Repo.objects.get(), user=people["let in"], state="accepted")
    for person, user in people.items():
        walk(client, user, "alice/r", rights(person, visibility, gate), (person, visibility, gate))


@pytest.fixture
def staff(alice, bob, carol, adam):
    """An organization's people by what they are there, and who is not."""
    camp = Organization.objects.create(name="camp")
    found = {"admin": alice, "maker": bob, "contributor": make_user("cora"), "member": carol}
    roles = {"admin": "admin", "maker": "contributor", "contributor": "contributor"}
    for person, user in found.items():
        role = roles.get(person, "member")
        OrganizationMember.objects.create(organization=camp, user=user, role=role)
    return found | {"outsider": make_user("gus"), "administrator": adam}


def rights_in(person: str, visibility: str, gate: str) -> str:
    """The table for a repo of an organization."""
    if person in {"admin", "maker"}:
        return "manage"
    if person == "contributor":
        return "write"
    if person == "administrator" and visibility == "public":
        return "manage"
    sees = visibility == "public" or (visibility == "class" and person == "member")
    if not sees:
        return "nothing"
    return "see" if gate else "read"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("visibility", "gate"), list(itertools.product(["public", "class", "private"], ["", "manual"]))
)
def test_everybody_of_an_organization_hears_what_the_table_says(client, staff, visibility, gate):
    push(staff["maker"], "camp/r", {"m.bin": BIG, "README.md": b"# R\n"}, kind="model")
    Repo.objects.update(visibility=visibility, gate=gate)
    for person, user in staff.items():
        right = rights_in(person, visibility, gate)
        walk(client, user, "camp/r", right, (person, visibility, gate))


# Of a dataset: what one must be allowed to do, method and address.
SEES_DATA = [
    ("GET", "/api/hub/repos/dataset/{r}/"),
    ("GET", "/api/datasets/{r}"),
    ("PUT", "/api/hub/repos/dataset/{r}/like/"),
    ("GET", "/api/datasets/{r}/likers"),
]
READS_DATA = [
    ("GET", "/api/hub/repos/dataset/{r}/rows/"),
    ("GET", "/api/hub/repos/dataset/{r}/report/"),
    ("GET", "/api/hub/repos/dataset/{r}/viewer/"),
    ("GET", "/api/hub/repos/dataset/{r}/viewer/rows/?path=train.jsonl"),
    ("GET", "/api/hub/repos/dataset/{r}/viewer/statistics/?path=train.jsonl"),
    ("GET", "/datasets/{r}/resolve/main/train.jsonl"),
    ("GET", "/api/datasets/{r}/xet-read-token/main"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("visibility", "gate"), list(itertools.product(["public", "class", "private"], ["", "manual"]))
)
def test_rows_are_read_and_lists_are_counted_as_the_table_says(client, people, visibility, gate):
    rows = "\n".join(make_row(f"q {n}") for n in range(3)).encode()
    card = b"---\nlicense: wtfpl\n---\n# Umbrella\n"
    push(people["owner"], "alice/r", {"train.jsonl": rows, "README.md": card})
    Repo.objects.update(visibility=visibility, gate=gate)
    AccessRequest.objects.create(repo=Repo.objects.get(), user=people["let in"], state="accepted")
    for person, user in people.items():
        right = rights(person, visibility, gate)
        sees, reads, *_ = EXPECTED[right]
        headers = {"Authorization": f"Bearer {make_token(user)}"}
        for addresses, status in ((SEES_DATA, sees), (READS_DATA, reads)):
            for method, address in addresses:
                got = client.generic(method, address.format(r="alice/r"), headers=headers)
                assert got.status_code == status, (person, visibility, gate, address, got.content)
        is_there = right != "nothing"
        assert in_lists(client, headers) == [is_there] * 4, (person, visibility, gate)
        project = {"dataset": "alice/r", "kind": "review", "name": "x"}
        door = "/api/labelling/projects/"
        got = client.post(door, project, content_type="application/json", headers=headers)
        assert (got.status_code == 201) == (reads == 200), (person, visibility, gate, got.content)


def in_lists(client, headers) -> list[bool]:
    """Say whether each list tells of the one repo: by search, by filter, by count, by protocol."""

    def get(path: str):
        return client.get(path, headers=headers).json()

    facets = get("/api/hub/facets/?kind=dataset")
    return [
        get("/api/hub/repos/?search=umbrella")["count"] == 1,
        get("/api/hub/repos/?license=wtfpl")["count"] == 1,
        "wtfpl" in [each["value"] for each in facets["license"]],
        [each["id"] for each in get("/api/datasets")] == ["alice/r"],
    ]


def walk(client, user, repo: str, right: str, case: tuple[str, ...]) -> None:
    """Ask at every door of a model, and hear what the right says."""
    scopes = ["admin"] if user.username == "adam" else None
    headers = {"Authorization": f"Bearer {make_token(user, scopes)}"}
    groups = (SEES, READS, WRITES, MANAGES)
    for addresses, status in zip(groups, EXPECTED[right], strict=True):
        for method, address in addresses:
            got = ask(
                client,
                method,
                address.format(r=repo, new="new-" + case[0].replace(" ", "-")),
                headers,
            )
            said = (*case, method, address, got.status_code)
            if status == 200:
                assert got.status_code < 300 or _is_refused_for_its_body(got), said
            else:
                assert got.status_code == status, said


def ask(client, method: str, path: str, headers: dict[str, str]):
    address = path
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
