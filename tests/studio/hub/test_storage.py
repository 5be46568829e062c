"""One storage or the other, a real S3 server included: the hub does not notice which."""

import io
import os
import random
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import boto3
import httpx
import pytest
from django.utils import timezone
from huggingface_hub import hf_hub_download

from studio.hub import storage
from studio.hub.blobs import store_blob, store_small_blobs
from studio.hub.content import open_blob
from studio.hub.models import AnnouncedChunk, Blob, BlobClaim, XetFile, Xorb
from studio.hub.storage import DiskFull, get_store, stage
from studio.hub.sweeping import sweep_hub
from studio.hub.xet.services import KEPT_DAYS
from tests.live import free_port, wait_for

MIB = 2**20


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """Address of a real S3 server."""
    port, root = free_port(), tmp_path_factory.mktemp("s3")
    env = os.environ | {"NANIO_ACCESS_KEY": "hub", "NANIO_SECRET_KEY": "hub-secret-key"}
    command = [str(Path(sys.executable).parent / "nanio"), "serve", "--data-dir", str(root)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    with subprocess.Popen(command, env=env) as server:
        url = f"http://127.0.0.1:{port}"
        wait_for("the S3 server", lambda: httpx.get(url).status_code < 500)
        yield url
        server.terminate()


@pytest.fixture(params=["local", "s3"])
def either_storage(request, settings):
    """The hub on each storage in turn."""
    if request.param == "s3":
        url = request.getfixturevalue("s3_server")
        keys = {"key_id": "hub", "secret": "hub-secret-key", "region": "us-east-1"}
        bucket = f"hub-{random.randrange(10**9)}"
        boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id="hub",
            aws_secret_access_key=keys["secret"],
            region_name="us-east-1",
        ).create_bucket(Bucket=bucket)
        settings.HUB_S3 = {"bucket": bucket, "endpoint": url, "prefix": "athanor/", **keys}
    return request.param


def make_bytes(num_bytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(num_bytes)


def put(name: str, data: bytes, shelf: storage.Shelf = "blobs") -> None:
    get_store(shelf).place(name, stage(io.BytesIO(data)).path)


def test_an_object_is_kept_read_listed_and_deleted(either_storage):
    store, name = get_store(), "ab" * 32
    assert not store.exists(name)
    for _ in range(2):
        put(name, b"0123456789")
    assert store.exists(name)
    with store.open(name) as file:
        assert file.read() == b"0123456789"
        file.seek(-3, io.SEEK_END)
        assert file.read(2) == b"78"
    assert store.read(name, 2, 3) == b"234"
    assert store.read(name, 8, 30) == b"89"
    assert store.read(name, -4, 4) == b"6789"
    assert store.read(name, 50, 3) == b""
    assert [each.name for each in store.list_objects()] == [name]
    assert list(get_store("xorbs").list_objects()) == []
    for _ in range(2):
        store.delete(name)
    assert not store.exists(name)
    for read in (lambda: store.open(name), lambda: store.read(name, 0, 1)):
        with pytest.raises(FileNotFoundError):
            read()


@pytest.mark.django_db
def test_a_large_file_is_read_at_any_place(either_storage):
    content = make_bytes(3 * MIB) + b"same" * MIB + make_bytes(MIB, 2)
    blob = store_blob(source=io.BytesIO(content))
    assert blob.xet is not None
    with open_blob(blob) as file:
        assert file.seek(0, io.SEEK_END) == len(content)
        for at, length in [(0, 10), (3 * MIB - 5, 20), (len(content) - 3, 50), (MIB, 5 * MIB)]:
            file.seek(at)
            assert file.read(length) == content[at : at + length]
        file.seek(0)
        assert file.read() == content
        file.seek(len(content) + 10)
        assert file.read(5) == b""


@pytest.mark.django_db
def test_the_same_large_file_twice_is_kept_once(either_storage):
    content = make_bytes(2 * MIB)
    first = store_blob(source=io.BytesIO(content))
    size_bytes = sum(each.size_bytes for each in Xorb.objects.all())
    assert store_blob(source=io.BytesIO(content)) == first
    longer = store_blob(source=io.BytesIO(content + make_bytes(300_000, 2)))
    assert longer.xet != first.xet
    grown = sum(each.size_bytes for each in Xorb.objects.all())
    assert size_bytes < grown < size_bytes + MIB


@pytest.mark.django_db
def test_chunks_go_weeks_after_their_last_file_and_not_before(either_storage):
    blob = store_blob(source=io.BytesIO(make_bytes(2 * MIB)))
    _age(Blob, days=2)
    assert sweep_hub() == 2 and not Blob.objects.exists()  # the blob and its file of chunks
    assert not XetFile.objects.exists() and Xorb.objects.count() == 1
    again = store_blob(source=io.BytesIO(make_bytes(2 * MIB)))  # whoever comes back finds them
    assert again.pk == blob.pk and Xorb.objects.count() == 1
    _age(Blob, days=2)
    _age(Xorb, days=KEPT_DAYS + 1)
    sweep_hub()
    assert not Xorb.objects.exists() and not AnnouncedChunk.objects.exists()
    assert list(get_store("xorbs").list_objects()) == []


@pytest.mark.django_db
def test_an_object_that_lost_its_row_goes_too(either_storage):
    whole, xorb = "ab" * 32, "cd" * 32
    put(whole, b"1")
    put(xorb, b"2", "xorbs")
    sweep_hub()
    assert get_store().exists(whole)  # it may belong to a commit that is on its way
    sweep_hub(spared_days=-1, xorb_days=-1)
    assert not get_store().exists(whole) and not get_store("xorbs").exists(xorb)
    assert not Blob.objects.exists() and not Xorb.objects.exists()


@pytest.mark.django_db
def test_what_never_arrived_is_swept_after_a_day(hub_dir):
    staged = hub_dir / "blobs" / "staged"
    waiting = hub_dir / "lfs" / "abab"
    for folder in (staged, waiting):
        folder.mkdir(parents=True)
    (staged / "old").write_bytes(b"x")
    (waiting / "00001").write_bytes(b"x")
    assert sweep_hub() == 0
    long_ago = timezone.now().timestamp() - 2 * 86400
    for path in (staged / "old", waiting / "00001", waiting):
        os.utime(path, (long_ago, long_ago))
    assert sweep_hub() == 2
    assert not waiting.exists() and not (staged / "old").exists()


@pytest.mark.django_db
def test_a_file_that_turned_into_chunks_leaves_no_double(monkeypatch):
    content = make_bytes(2 * MIB)
    monkeypatch.setattr("studio.hub.blobs.LARGE_BYTES", 10 * MIB)
    blob = store_blob(source=io.BytesIO(content))
    assert blob.xet is None and get_store().exists(blob.pk)
    monkeypatch.undo()
    blob = store_blob(source=io.BytesIO(content))
    assert blob.xet is not None
    BlobClaim.objects.create(
        user=_somebody(), blob=blob, claimed_at=timezone.now() + timedelta(days=9)
    )
    sweep_hub(spared_days=-1)
    assert not get_store().exists(blob.pk)


@pytest.mark.django_db
def test_many_small_files_are_kept_together_each_once(either_storage, hub_dir):
    known = store_blob(source=io.BytesIO(make_bytes(100, seed=0)))
    Blob.objects.filter(pk=known.pk).update(
        stored_at=timezone.now() - timedelta(days=9), git_oid=""
    )
    contents = [make_bytes(100, seed=number % 40) for number in range(50)]
    blobs = store_small_blobs([io.BytesIO(content) for content in contents])
    assert [get_store().read(blob.pk, 0, 200) for blob in blobs] == contents
    assert Blob.objects.count() == 40 and len({blob.pk for blob in blobs}) == 40
    known.refresh_from_db()
    assert known.git_oid and known.stored_at > timezone.now() - timedelta(hours=1)
    assert not list((hub_dir / "blobs" / "staged").iterdir())


@pytest.mark.django_db
def test_of_many_small_files_none_is_kept_where_one_does_not_fit(monkeypatch, hub_dir):
    real = storage.check_room
    num_asked = []

    def check_room(num_bytes: int) -> None:
        num_asked.append(num_bytes)
        if len(num_asked) == 12:
            monkeypatch.setattr(storage, "_SPARED_BYTES", 2**60)
        real(num_bytes)

    monkeypatch.setattr(storage, "check_room", check_room)
    with pytest.raises(DiskFull):
        store_small_blobs([io.BytesIO(b"%d" % number) for number in range(20)])
    assert not Blob.objects.exists() and not [p for p in hub_dir.rglob("*") if p.is_file()]


@pytest.mark.django_db
def test_a_full_disk_is_one_sentence_and_nothing_kept(monkeypatch, hub_dir):
    monkeypatch.setattr(storage, "_SPARED_BYTES", 2**60)
    for num_bytes in (10, 2 * MIB):
        with pytest.raises(DiskFull, match="ask the administrator for room"):
            store_blob(source=io.BytesIO(make_bytes(num_bytes)))
    assert not Blob.objects.exists() and not [p for p in hub_dir.rglob("*") if p.is_file()]


def test_clients_push_and_fetch_through_a_bucket(s3_server, settings, client_of, alice, tmp_path):
    keys = {"key_id": "hub", "secret": "hub-secret-key", "region": "us-east-1"}
    settings.HUB_S3 = {"bucket": "clients", "endpoint": s3_server, "prefix": "", **keys}
    boto3.client(
        "s3",
        endpoint_url=s3_server,
        aws_access_key_id="hub",
        aws_secret_access_key=keys["secret"],
        region_name="us-east-1",
    ).create_bucket(Bucket="clients")
    api = client_of(alice)
    api.create_repo("alice/wide")
    for path, content in (("small.txt", b"hello"), ("m.bin", make_bytes(5 * MIB, 9))):
        api.upload_file(path_or_fileobj=content, path_in_repo=path, repo_id="alice/wide")
        got = hf_hub_download(
            "alice/wide", path, endpoint=api.endpoint, token=api.token, cache_dir=tmp_path / "c"
        )
        assert Path(got).read_bytes() == content


def _age(table, *, days: int) -> None:
    table.objects.update(stored_at=timezone.now() - timedelta(days=days))


def _somebody():
    from tests.factories import make_user

    return make_user("dave")


def _soon():
    return timezone.now() + timedelta(days=9)
