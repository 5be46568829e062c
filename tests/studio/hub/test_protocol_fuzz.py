"""The doors of Hugging Face's protocol, Xet and LFS: hostile bytes in every place, never a 500."""

import base64
import json
import os
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.hub.models import CommitFile, Kind, Visibility
from studio.hub.xet.tokens import get_hub_id
from tests.studio.asgi import make_token
from tests.studio.drive.conftest import body_of
from tests.studio.hub.made import make_row, push

pytestmark = pytest.mark.django_db
EXAMPLES = int(os.environ.get("ATHANOR_FUZZ_EXAMPLES", "200"))
SECRET = b"what only bob may read"

_TRAPS = st.sampled_from(
    [
        *("", ".", "..", "../..", "/", "//", "%2e%2e", "%2F", "%252F", "..%2f..%2fetc/passwd"),
        *("main", "refs/heads/main", "refs/pr/1", "HEAD", "0" * 40, "f" * 7, "main\0", "-x"),
        *("README.md", "data/train.jsonl", "m.bin", "a" * 300, "\u202e.txt", "名字 空格", "\ud800"),
        *("con", "a//b", "a/./b", "a\\b", "\n", "'; DROP TABLE hub_repo; --", "{}", "%00", "é"),
        *("12345678901234567890", "-1", "1e400", "NaN", "null", "true"),
    ]
)
TEXTS = st.one_of(_TRAPS, st.text(max_size=30))
NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.sampled_from([0, 1, 2**31, 2**63, -1]))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.floats(), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)
REPOS = ("models/alice/m", "datasets/alice/d", "models/bob/hidden", "models/alice/none")
DOORS = (
    *("", "/revision/{}", "/tree/{}", "/tree/main/{}", "/paths-info/{}", "/refs", "/commits/{}"),
    *("/preupload/{}", "/commit/{}", "/branch/{}", "/tag/{}", "/super-squash/{}", "/settings"),
    *("/auth-check", "/like", "/likers", "/ask-access", "/user-access-request/{}"),
    *("/user-access-request/handle", "/lfs-files/duplicate", "/xet-read-token/{}"),
    *("/xet-write-token/{}", "/nothing/{}"),
)
OTHERS = (
    *("/api/whoami-v2", "/api/validate-yaml", "/api/repos/create", "/api/repos/move"),
    *("/api/repos/delete", "/api/users/{}/likes", "/api/models", "/api/datasets"),
    *("/alice/m/resolve/{}/README.md", "/alice/m/resolve/main/{}", "/bob/hidden/resolve/main/{}"),
    *("/datasets/alice/d/resolve/main/{}", "/alice/m.git/info/lfs/objects/batch"),
    *("/datasets/alice/d.git/info/lfs/objects/batch", "/api/lfs/verify", "/api/lfs/uploads/{}"),
    *("/api/xet/xorbs/" + "0" * 64, "/api/xet/xorbs/{}", "/api/xet/{hub}/v1/xorbs/default/{}"),
    *("/api/xet/{hub}/v1/shards", "/api/xet/{hub}/v1/reconstructions/{}"),
    *("/api/xet/{hub}/v1/reconstructions", "/api/xet/{hub}/v1/chunks/default-merkledb/{}"),
)
FIELDS = (
    *("paths", "files", "path", "size", "sample", "key", "value", "summary", "objects", "oid"),
    *(
        "operation",
        "transfers",
        "name",
        "type",
        "organization",
        "private",
        "visibility",
        "fromRepo",
    ),
    *(
        "toRepo",
        "gated",
        "user",
        "status",
        "startingPoint",
        "tag",
        "message",
        "overwrite",
        "content",
    ),
)
KEYS = ("file", "lfsFile", "deletedFile", "deletedFolder", "header", "copyFile", "odd")


@pytest.fixture
def client_of_alice(alice, bob, hub_dir, settings) -> Client:
    """Alice's requests, in a hub with repos of hers and one of bob's that is hidden."""
    push(alice, "alice/m", {"README.md": b"# M", "m.bin": b"x" * 100}, kind=Kind.MODEL)
    push(alice, "alice/d", {"data/train.jsonl": make_row().encode()})
    push(bob, "bob/hidden", {"README.md": SECRET}, kind=Kind.MODEL)
    push(bob, "bob/open", {"a.txt": b"a"}, kind=Kind.MODEL, visibility=Visibility.PUBLIC)
    headers = {"Authorization": f"Bearer {make_token(alice)}"}
    return Client(headers=headers, raise_request_exception=False)


def ask(client: Client, method: str, address: str, body: bytes, content_type: str) -> bytes:
    """Send a request; what is said is no fault of ours, and nothing of bob's."""
    answer = client.generic(method, address, body, content_type=content_type)
    content = body_of(answer)
    said = (method, address, body[:300], answer.status_code, content[:300])
    assert answer.status_code < 500, said
    assert SECRET not in content, said
    return content


def quiet(**more: Any) -> Any:
    return settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), **more)


@quiet(max_examples=EXAMPLES)
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"]),
    door=st.sampled_from([f"/api/{repo}{door}" for repo in REPOS for door in DOORS] + [*OTHERS]),
    part=TEXTS,
    is_quoted=st.booleans(),
    query=st.dictionaries(
        st.sampled_from(
            ["recursive", "expand", "limit", "cursor", "blobs", "search", "filter", "p"]
        ),
        TEXTS,
        max_size=2,
    ),
    body=st.one_of(
        st.binary(max_size=60),
        VALUES.map(lambda value: json.dumps(value).encode()),
        st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=5).map(
            lambda value: json.dumps(value).encode()
        ),
    ),
    content_type=st.sampled_from(
        ["application/json", "application/vnd.git-lfs+json", "application/x-ndjson", "text/plain"]
    ),
)
def test_no_door_breaks(client_of_alice, method, door, part, is_quoted, query, body, content_type):
    shown = part.encode("utf-8", "surrogatepass")
    part = quote(shown, safe="" if is_quoted else "/%.")
    address = door.replace("{hub}", get_hub_id()).replace("{}", part)
    if query:
        address += "?" + "&".join(
            f"{name}={quote(value.encode('utf-8', 'surrogatepass'))}"
            for name, value in query.items()
        )
    ask(client_of_alice, method, address, body, content_type)


@quiet(max_examples=EXAMPLES)
@given(
    lines=st.lists(
        st.one_of(
            st.fixed_dictionaries(
                {
                    "key": st.sampled_from(KEYS),
                    "value": st.fixed_dictionaries(
                        {},
                        optional={
                            "path": TEXTS,
                            "content": st.one_of(
                                VALUES,
                                st.binary(max_size=20).map(lambda b: base64.b64encode(b).decode()),
                            ),
                            "encoding": st.sampled_from(["base64", "utf-8", "x", None]),
                            "oid": VALUES,
                            "algo": TEXTS,
                            "size": VALUES,
                            "summary": VALUES,
                            "description": VALUES,
                            "parentCommit": VALUES,
                            "srcPath": TEXTS,
                            "srcRevision": TEXTS,
                        },
                    ),
                }
            ).map(json.dumps),
            VALUES.map(json.dumps),
            st.text(max_size=20),
        ),
        max_size=4,
    ),
    has_header=st.booleans(),
    cut=st.integers(0, 30),
)
def test_no_commit_breaks_or_makes_a_path_that_leads_out(client_of_alice, lines, has_header, cut):
    header = [json.dumps({"key": "header", "value": {"summary": "x"}})] if has_header else []
    body = "\n".join(header + lines).encode("utf-8", "surrogatepass")
    body = body[: len(body) - cut] if cut < 5 else body
    ask(client_of_alice, "POST", "/api/models/alice/m/commit/main", body, "application/x-ndjson")
    for path in CommitFile.objects.filter(commit__repo__name="m").values_list("path", flat=True):
        assert not path.startswith("/") and ".." not in path.split("/") and "\0" not in path
