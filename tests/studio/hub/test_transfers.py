"""Large files with Hugging Face's own clients and their defaults: Xet, LFS, plain HTTP."""

import hashlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, hf_hub_download
from huggingface_hub.errors import BadRequestError, RepositoryNotFoundError

from studio.hub.models import AnnouncedChunk, Blob, BlobClaim, Repo, XetFile, Xorb

MIB = 2**20


@pytest.fixture(autouse=True)
def fresh_client(tmp_path, monkeypatch):
    """A client that remembers nothing of other tests' hubs."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "hf" / "xet"))


def make_bytes(num_bytes: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(num_bytes)


def fetch(api, repo_id: str, path: str, tmp_path) -> Path:
    return Path(
        hf_hub_download(
            repo_id, path, endpoint=api.endpoint, token=api.token, cache_dir=tmp_path / "cache"
        )
    )


def run_client(code: str, *, url: str, token: str, home: Path, **env: str) -> str:
    """Run a script with a client of its own, which knows nothing but address and token."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={
            "PATH": os.environ["PATH"],
            "HF_HOME": str(home),
            "HF_ENDPOINT": url,
            "HF_TOKEN": token,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            **env,
        },
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_a_large_file_travels_by_xet_both_ways(client_of, alice, tmp_path):
    api = client_of(alice)
    api.create_repo("alice/wide")
    content = make_bytes(5 * MIB) + bytes(3 * MIB) + make_bytes(100, 2)
    api.upload_file(path_or_fileobj=content, path_in_repo="model.bin", repo_id="alice/wide")
    assert fetch(api, "alice/wide", "model.bin", tmp_path).read_bytes() == content
    blob = Blob.objects.get(sha256=hashlib.sha256(content).hexdigest())
    assert blob.xet is not None and blob.xet.size_bytes == len(content)
    (info,) = api.get_paths_info("alice/wide", ["model.bin"])
    assert info.lfs.sha256 == blob.sha256 and info.xet_hash == blob.xet_id
    assert sum(xorb.size_bytes for xorb in Xorb.objects.all()) < 6 * MIB


def test_what_changes_little_costs_little(client_of, alice, bob, tmp_path):
    api = client_of(alice)
    content = bytearray(make_bytes(12 * MIB))
    for number in range(4):
        repo_id = f"alice/step-{number}"
        content[number * MIB : number * MIB + 200_000] = make_bytes(200_000, 10 + number)
        api.create_repo(repo_id)
        api.upload_file(path_or_fileobj=bytes(content), path_in_repo="m.bin", repo_id=repo_id)
        assert fetch(api, repo_id, "m.bin", tmp_path).read_bytes() == bytes(content)
    stored = sum(xorb.size_bytes for xorb in Xorb.objects.all())
    assert stored < 1.2 * 12 * MIB


def test_another_machine_finds_the_chunks_that_are_here(client_of, alice, bob, tmp_path):
    api = client_of(alice)
    api.create_repo("alice/one")
    content = make_bytes(9 * MIB)
    api.upload_file(path_or_fileobj=content, path_in_repo="m.bin", repo_id="alice/one")
    before = Xorb.objects.count()
    other = client_of(bob)
    (tmp_path / "m.bin").write_bytes(content + make_bytes(50_000, 3))
    code = (
        "from huggingface_hub import HfApi; a = HfApi(); a.create_repo('bob/two');"
        f"a.upload_file(path_or_fileobj={str(tmp_path / 'm.bin')!r}, path_in_repo='m.bin',"
        " repo_id='bob/two')"
    )
    run_client(code, url=other.endpoint, token=other.token, home=tmp_path / "elsewhere")
    assert AnnouncedChunk.objects.exists()
    added = Xorb.objects.order_by("-stored_at").exclude(size_bytes__gt=MIB)
    assert Xorb.objects.count() == before + 1 and added.count() == 1
    assert (
        fetch(other, "bob/two", "m.bin", tmp_path).read_bytes() == (tmp_path / "m.bin").read_bytes()
    )


@pytest.mark.parametrize("num_bytes", [3 * MIB, 70 * MIB])
def test_a_client_without_xet_sends_by_lfs(client_of, alice, tmp_path, num_bytes):
    api = client_of(alice)
    content = make_bytes(num_bytes)
    (tmp_path / "m.bin").write_bytes(content)
    code = (
        "from huggingface_hub import HfApi, hf_hub_download; a = HfApi(); a.create_repo('alice/l');"
        f"a.upload_file(path_or_fileobj={str(tmp_path / 'm.bin')!r}, path_in_repo='m.bin',"
        " repo_id='alice/l'); print(hf_hub_download('alice/l', 'm.bin'))"
    )
    env = {"HF_HUB_DISABLE_XET": "1"}
    got = run_client(code, url=api.endpoint, token=api.token, home=tmp_path / "h", **env)
    assert Path(got.strip()).read_bytes() == content
    assert XetFile.objects.count() == 1
    assert fetch(api, "alice/l", "m.bin", tmp_path).read_bytes() == content  # and by Xet


def test_the_same_bytes_sent_whole_and_as_chunks_are_one_file(client_of, alice, tmp_path):
    api = client_of(alice)
    content = make_bytes(3 * MIB)
    api.create_repo("alice/a")
    api.upload_file(path_or_fileobj=content, path_in_repo="a.bin", repo_id="alice/a")
    (tmp_path / "m.bin").write_bytes(content)
    code = (
        "from huggingface_hub import HfApi;"
        f"HfApi().upload_file(path_or_fileobj={str(tmp_path / 'm.bin')!r}, path_in_repo='b.bin',"
        " repo_id='alice/a')"
    )
    env = {"HF_HUB_DISABLE_XET": "1"}
    run_client(code, url=api.endpoint, token=api.token, home=tmp_path / "h", **env)
    assert (XetFile.objects.count(), Blob.objects.filter(xet__isnull=False).count()) == (1, 1)


def test_ranges_and_headers_are_those_that_clients_look_for(client_of, alice):
    api = client_of(alice)
    api.create_repo("alice/wide")
    content = make_bytes(10 * MIB)
    sha = api.upload_file(path_or_fileobj=content, path_in_repo="m.bin", repo_id="alice/wide").oid
    url = f"{api.endpoint}/alice/wide/resolve/main/m.bin"
    headers = {"Authorization": f"Bearer {api.token}"}
    head = httpx.head(url, headers=headers)
    digest = hashlib.sha256(content).hexdigest()
    assert head.headers["ETag"] == head.headers["X-Linked-ETag"] == f'"{digest}"'
    assert head.headers["X-Linked-Size"] == head.headers["Content-Length"] == str(len(content))
    assert head.headers["X-Repo-Commit"] == sha
    for first, last in [(0, 0), (5 * MIB - 7, 7 * MIB + 13), (len(content) - 1, len(content) + 5)]:
        got = httpx.get(url, headers=headers | {"Range": f"bytes={first}-{last}"})
        assert got.status_code == 206 and got.content == content[first : last + 1]
    assert httpx.get(url, headers=headers).content == content
    behind = httpx.get(url, headers=headers | {"Range": f"bytes={len(content)}-"})
    assert behind.status_code == 416


def test_to_know_a_hash_is_not_to_have_the_bytes(client_of, alice, carol):
    api = client_of(alice)
    api.create_repo("alice/secret", private=True)
    content = make_bytes(2 * MIB)
    api.upload_file(path_or_fileobj=content, path_in_repo="m.bin", repo_id="alice/secret")
    blob = Blob.objects.get(xet__isnull=False)
    stranger = client_of(carol)
    stranger.create_repo("carol/loot")
    line = {"path": "m.bin", "algo": "sha256", "oid": blob.sha256, "size": len(content)}
    lines = [{"key": "header", "value": {"summary": "x"}}, {"key": "lfsFile", "value": line}]
    answer = httpx.post(
        f"{stranger.endpoint}/api/models/carol/loot/commit/main",
        headers={"Authorization": f"Bearer {stranger.token}"},
        content="\n".join(json.dumps(each) for each in lines),
    )
    assert answer.status_code == 400 and "have not arrived" in answer.text
    batch = httpx.post(
        f"{stranger.endpoint}/carol/loot.git/info/lfs/objects/batch",
        headers={"Authorization": f"Bearer {stranger.token}"},
        json={"operation": "upload", "objects": [{"oid": blob.sha256, "size": blob.size_bytes}]},
    ).json()
    assert "actions" in batch["objects"][0]  # as if it were not here: send it
    with pytest.raises(RepositoryNotFoundError):
        stranger.hf_hub_download("alice/secret", "m.bin")
    token = get_xet_token(stranger, "carol/loot", "write")
    answer = httpx.get(
        f"{token['casUrl']}/v2/reconstructions/{blob.xet_id}",
        headers={"Authorization": f"Bearer {token['accessToken']}"},
    )
    assert answer.status_code == 404


def get_xet_token(api, repo_id: str, action: str) -> dict:
    url = f"{api.endpoint}/api/models/{repo_id}/xet-{action}-token/main"
    answer = httpx.get(url, headers={"Authorization": f"Bearer {api.token}"})
    answer.raise_for_status()
    return answer.json()


def test_a_token_for_reading_writes_nothing(client_of, alice, bob):
    api = client_of(alice)
    api.create_repo("alice/open", private=False)
    other = client_of(bob)
    url = f"{other.endpoint}/api/models/alice/open/xet-write-token/main"
    refused = httpx.get(url, headers={"Authorization": f"Bearer {other.token}"})
    assert refused.status_code == 403
    token = get_xet_token(other, "alice/open", "read")
    headers = {"Authorization": f"Bearer {token['accessToken']}"}
    answer = httpx.post(f"{token['casUrl']}/v1/xorbs/default/{'0' * 64}", headers=headers)
    assert answer.status_code == 403
    assert httpx.post(f"{token['casUrl']}/v1/shards", headers=headers).status_code == 403
    assert httpx.post(f"{token['casUrl']}/v1/shards").status_code == 401


def test_a_token_ends_with_the_right_it_spoke_for(client_of, alice, bob):
    api = client_of(alice)
    api.create_repo("alice/open", private=False)
    other = client_of(bob)
    token = get_xet_token(other, "alice/open", "read")
    Repo.objects.update(visibility="private")
    answer = httpx.get(
        f"{token['casUrl']}/v1/chunks/default/{'0' * 64}",
        headers={"Authorization": f"Bearer {token['accessToken']}"},
    )
    assert answer.status_code == 404 and "may see" in answer.text


def test_a_signed_address_opens_its_own_bytes_only(client_of, alice):
    api = client_of(alice)
    api.create_repo("alice/wide")
    api.upload_file(path_or_fileobj=make_bytes(3 * MIB), path_in_repo="m", repo_id="alice/wide")
    file = XetFile.objects.get()
    token = get_xet_token(api, "alice/wide", "read")
    plan = httpx.get(
        f"{token['casUrl']}/v1/reconstructions/{file.hash}",
        headers={
            "Authorization": f"Bearer {token['accessToken']}",
            "Range": f"bytes={2 * MIB}-{2 * MIB + 5}",
        },
    ).json()
    ((xorb, (fetch,)),) = plan["fetch_info"].items()
    first, last = fetch["url_range"]["start"], fetch["url_range"]["end"]
    assert first > 0 and len(plan["terms"]) == 1
    got = httpx.get(fetch["url"], headers={"Range": f"bytes={first}-{last}"})
    assert got.status_code == 206 and len(got.content) == last - first + 1
    for wanted in [None, f"bytes=0-{last}", f"bytes={first}-{last + 1}", "bytes=-5"]:
        headers = {"Range": wanted} if wanted else {}
        assert httpx.get(fetch["url"], headers=headers).status_code == 403
    other = fetch["url"].replace(xorb, "0" * 64)
    assert httpx.get(other, headers={"Range": f"bytes={first}-{last}"}).status_code == 403


def test_a_commit_of_what_never_arrived_is_refused_and_changes_nothing(client_of, alice):
    api = client_of(alice)
    api.create_repo("alice/wide")
    api.upload_file(path_or_fileobj=b"x", path_in_repo="a", repo_id="alice/wide")
    before = api.list_repo_files("alice/wide")
    BlobClaim.objects.all().delete()
    operation = CommitOperationAdd("m.bin", make_bytes(2 * MIB))
    api.preupload_lfs_files("alice/wide", [operation])
    BlobClaim.objects.all().delete()
    with pytest.raises(BadRequestError, match="have not arrived"):
        api.create_commit("alice/wide", [operation, CommitOperationDelete("a")], commit_message="x")
    assert api.list_repo_files("alice/wide") == before
