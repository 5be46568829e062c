"""What a proxy sends by itself, and what the studio sends to who came by no proxy."""

import pytest

from tests.studio.hub.made import push

BIG = bytes(range(256)) * 5000


@pytest.fixture
def behind_proxy(settings):
    settings.HUB_ACCEL = "/_hub"
    return {"X-Accel-Prefix": "/_hub"}


@pytest.mark.django_db
def test_the_proxy_is_told_where_a_whole_file_lies(client, alice, behind_proxy, hub_dir):
    blob = push(alice, "alice/r", {"a.txt": b"hello"}, kind="model").files.get().blob
    client.force_login(alice)
    told = client.get("/alice/r/resolve/main/a.txt", headers=behind_proxy)
    path = told.headers["X-Accel-Redirect"]
    assert told.content == b"" and path.startswith("/_hub/blobs/")
    stored = hub_dir / path.removeprefix("/_hub/")
    assert stored.read_bytes() == b"hello" and stored.name == blob.pk
    assert stored.stat().st_mode & 0o004  # the proxy is another user


@pytest.mark.django_db
@pytest.mark.parametrize("headers", [{}, {"X-Accel-Prefix": "/other"}])
def test_who_comes_by_no_proxy_gets_the_bytes(client, alice, settings, headers):
    settings.HUB_ACCEL = "/_hub"
    push(alice, "alice/r", {"a.txt": b"hello", "m.bin": BIG}, kind="model")
    client.force_login(alice)
    for path, content in (("a.txt", b"hello"), ("m.bin", BIG)):
        got = client.get(f"/alice/r/resolve/main/{path}", headers=headers)
        assert "X-Accel-Redirect" not in got.headers
        assert b"".join(got) == content


@pytest.mark.django_db
def test_what_lies_in_chunks_the_studio_sends_itself(client, alice, behind_proxy):
    push(alice, "alice/r", {"m.bin": BIG}, kind="model")
    client.force_login(alice)
    got = client.get("/alice/r/resolve/main/m.bin", headers=behind_proxy)
    assert b"".join(got) == BIG
