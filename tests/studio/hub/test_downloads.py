"""What counts as a download: one fetch of a repo by somebody, however many requests it is."""

import os
import secrets

import pytest
from huggingface_hub import hf_hub_download, snapshot_download

from studio.hub.models import Repo
from tests.studio.hub.made import push
from tests.studio.hub.weights import MODEL_FILES

pytestmark = pytest.mark.django_db


@pytest.fixture
def memory(settings):
    """A cache of this test's own, in place of Redis."""
    name = secrets.token_hex()
    backend = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": name}}


def test_a_snapshot_is_fetched_once(memory, client_of, alice, tmp_path):
    api = client_of(alice)
    push(alice, "alice/tiny", MODEL_FILES, kind="model")
    options = {"endpoint": api.endpoint, "token": api.token, "cache_dir": tmp_path / "cache"}
    first = snapshot_download("alice/tiny", **options)
    assert snapshot_download("alice/tiny", **options) == first
    assert Repo.objects.get().downloads == 1


def test_a_fetch_by_xet_is_counted_once_for_each_who_fetches(
    memory, client_of, alice, bob, tmp_path
):
    api = client_of(alice)
    api.create_repo("alice/data", repo_type="dataset", private=False)
    for number in range(2):
        api.upload_file(
            path_or_fileobj=os.urandom(2**21),
            path_in_repo=f"{number}.parquet",
            repo_id="alice/data",
            repo_type="dataset",
        )
    for user in (alice, bob):
        token = client_of(user).token
        for number in range(2):
            hf_hub_download(
                "alice/data",
                f"{number}.parquet",
                repo_type="dataset",
                endpoint=api.endpoint,
                token=token,
                cache_dir=tmp_path / user.username,
            )
    assert Repo.objects.get().downloads == 2


def test_without_redis_files_are_fetched_and_not_counted(settings, api, alice):
    backend = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": "unix:///nowhere/redis.sock"}}
    push(alice, "alice/tiny", {"notes.txt": b"y"}, kind="model")
    assert api(alice).get("/alice/tiny/resolve/main/notes.txt").status_code == 200
    assert Repo.objects.get().downloads == 0


def test_what_a_page_shows_is_no_download(memory, api, alice):
    push(alice, "alice/tiny", {"README.md": b"# x", "notes.txt": b"y"}, kind="model")
    url = "/alice/tiny/resolve/main/"
    for path, shown in (("notes.txt", {"Sec-Fetch-Dest": "empty"}), ("README.md", {})):
        assert api(alice).get(url + path, headers=shown).status_code == 200
    assert Repo.objects.get().downloads == 0
    taken = api(alice).get(url + "notes.txt", headers={"Sec-Fetch-Dest": "document"})
    assert taken.status_code == 200
    assert Repo.objects.get().downloads == 1
