"""Hugging Face's own clients against the running hub, with their defaults (hf-xet installed)."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    hf_hub_download,
    snapshot_download,
)
from huggingface_hub.errors import (
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from studio.hub.models import Blob, Commit, Repo
from studio.jobs.run_tokens import make_run_token
from tests.factories import make_claimed_run, make_job
from tests.studio.hub.weights import ADAPTER_FILES, MODEL_FILES, write_folder

CARD = "---\nlicense: apache-2.0\ntags: [tiny]\n---\n\n# Tiny\n\nA model for tests.\n"


@pytest.fixture
def folder(tmp_path):
    """A model with a card and a file in a folder of its own."""
    files = MODEL_FILES | {"README.md": CARD.encode(), "notes/how.txt": b"by hand\n"}
    return write_folder(tmp_path / "tiny", files)


def push(api: HfApi, folder, repo_id="alice/tiny", **options) -> str:
    api.create_repo(repo_id, exist_ok=True, **options)
    return str(api.upload_folder(repo_id=repo_id, folder_path=folder).oid)


def test_a_folder_pushed_is_the_folder_fetched(client_of, alice, folder, tmp_path):
    api = client_of(alice)
    sha = push(api, folder)
    path = snapshot_download(
        "alice/tiny", endpoint=api.endpoint, token=api.token, cache_dir=tmp_path / "cache"
    )
    assert path.endswith(sha)
    found = {p.relative_to(path).as_posix() for p in _files(path)}
    assert found == {p.relative_to(folder).as_posix() for p in _files(folder)}
    for name in found:
        assert (Path(path) / name).read_bytes() == (folder / name).read_bytes()
    repo = Repo.objects.get()
    assert (repo.license, repo.tags, repo.role) == ("apache-2.0", ["tiny"], "base")
    assert repo.card_summary == "A model for tests."


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"key": "deletedFile", "value": {"path": "a\\nb"}}', "control character"),
        ('{"key": "lfsFile", "value": {"path": "a\\ud83d"}}', "control character"),
        (
            '{"key": "file", "value": {"path": "a", "content": "QQ=", "encoding": "base64"}}',
            "base64",
        ),
        ('{"key": "file", "value": {"path": "a", "content": 5}}', "content is missing"),
        ('{"key": "file", "value": {"path": "../a", "content": ""}}', "cannot be a file's path"),
    ],
)
def test_a_commit_line_that_is_none_gets_one_sentence(client_of, alice, hub, line, said):
    api = client_of(alice)
    api.create_repo("alice/tiny")
    answer = httpx.post(
        f"{hub}/api/models/alice/tiny/commit/main",
        content='{"key": "header", "value": {"summary": "s"}}\n' + line,
        headers={"Authorization": f"Bearer {api.token}"},
    )
    assert answer.status_code == 400
    assert said in answer.headers["X-Error-Message"]


def test_files_come_as_text_too_and_with_content_before_or_after(client_of, alice, hub):
    api = client_of(alice)
    api.create_repo("alice/tiny")
    lines = [
        '{"key": "header", "value": {"summary": "s"}}',
        '{"key": "file", "value": {"path": "a", "content": "abcd"}}',
        '{"key": "file", "value": {"encoding": "base64", "content": "YWJjZA==", "path": "b"}}',
        '{"key": "file", "value": {"path": "c", "content": "", "encoding": "base64"}}',
        '{"key": "file", "value": {"path": "d", "content": "\\"content\\": \\"x\\""}}',
    ]
    headers = {"Authorization": f"Bearer {api.token}"}
    url = f"{hub}/api/models/alice/tiny/commit/main"
    assert httpx.post(url, content="\n".join(lines), headers=headers).status_code == 200
    got = {
        path: httpx.get(f"{hub}/alice/tiny/resolve/main/{path}", headers=headers).text
        for path in "abcd"
    }
    assert got == {"a": "abcd", "b": "abcd", "c": "", "d": '"content": "x"'}


@pytest.mark.parametrize("most", ["[" + "[]," * (6 * 2**20) + "[]]", '"' + "a " * 2**23 + '"'])
def test_a_long_line_that_is_no_file_in_base64_is_refused_unparsed(client_of, alice, hub, most):
    api = client_of(alice)
    api.create_repo("alice/tiny")
    answer = httpx.post(
        f"{hub}/api/models/alice/tiny/commit/main",
        content=f'{{"key": "file", "value": {{"path": "a", "content": {most}}}}}',
        headers={"Authorization": f"Bearer {api.token}"},
    )
    assert (answer.status_code, answer.json()["code"]) == (413, "too_big")
    assert "in base64" in answer.headers["X-Error-Message"]


@pytest.mark.parametrize("paths", [5, None, [1], {"a": 1}])
def test_paths_that_are_no_texts_are_refused(client_of, alice, folder, hub, paths):
    api = client_of(alice)
    push(api, folder)
    answer = httpx.post(
        f"{hub}/api/models/alice/tiny/paths-info/main",
        json={"paths": paths},
        headers={"Authorization": f"Bearer {api.token}"},
    )
    assert (answer.status_code, answer.json()["field"]) == (400, "paths")


def test_what_is_unchanged_is_not_sent_again(client_of, alice, folder):
    api = client_of(alice)
    first = push(api, folder)
    assert push(api, folder) == first
    assert Commit.objects.count() == 2


def test_a_commit_adds_deletes_and_lists(client_of, alice, folder):
    api = client_of(alice)
    push(api, folder)
    info = api.create_commit(
        "alice/tiny",
        operations=[
            CommitOperationAdd("new.txt", b"new"),
            CommitOperationDelete("README.md"),
            CommitOperationDelete("notes/", is_folder=True),
        ],
        commit_message="Turn over",
        commit_description="at length",
    )
    left = set(api.list_repo_files("alice/tiny"))
    assert left == (set(MODEL_FILES) | {"new.txt"})
    newest = api.list_repo_commits("alice/tiny")[0]
    assert (newest.commit_id, newest.title, newest.message) == (info.oid, "Turn over", "at length")
    assert newest.authors == ["alice"]
    assert api.repo_info("alice/tiny").sha == info.oid
    assert api.list_repo_refs("alice/tiny").branches[0].target_commit == info.oid


def test_deleting_what_is_not_there_says_so(client_of, alice, folder):
    api = client_of(alice)
    push(api, folder)
    with pytest.raises(RemoteEntryNotFoundError):
        api.create_commit(
            "alice/tiny", operations=[CommitOperationDelete("no.txt")], commit_message="x"
        )


def test_an_old_revision_stays_what_it_was(client_of, alice, folder, tmp_path):
    api = client_of(alice)
    old = push(api, folder)
    (folder / "config.json").write_text("{}")
    new = push(api, folder)
    assert new != old
    got = hf_hub_download(
        "alice/tiny",
        "config.json",
        revision=old,
        endpoint=api.endpoint,
        token=api.token,
        cache_dir=tmp_path / "cache",
    )
    assert Path(got).read_bytes() == MODEL_FILES["config.json"]
    assert api.repo_info("alice/tiny", revision=old[:9]).sha == old
    with pytest.raises(RevisionNotFoundError):
        api.repo_info("alice/tiny", revision="v9")


def test_a_commit_on_a_head_that_moved_is_refused(client_of, alice, folder):
    api = client_of(alice)
    old = push(api, folder)
    (folder / "config.json").write_text("{}")
    push(api, folder)
    with pytest.raises(HfHubHTTPError, match="main is at"):
        api.create_commit(
            "alice/tiny",
            operations=[CommitOperationAdd("a.txt", b"a")],
            commit_message="x",
            parent_commit=old,
        )


def test_of_concurrent_commits_none_is_lost(client_of, alice, folder):
    api = client_of(alice)
    push(api, folder)
    errors = []

    def add(number: int) -> None:
        try:
            api.create_commit(
                "alice/tiny",
                operations=[CommitOperationAdd(f"{number}.txt", b"%d" % number)],
                commit_message=f"Add {number}",
            )
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert {f"{number}.txt" for number in range(6)} <= set(api.list_repo_files("alice/tiny"))
    assert Commit.objects.count() == 8


def test_a_download_goes_on_where_it_stopped(client_of, alice, folder, hub):
    api = client_of(alice)
    sha = push(api, folder)
    whole = (folder / "model.safetensors").read_bytes()
    url = f"{hub}/alice/tiny/resolve/main/model.safetensors"
    headers = {"Authorization": f"Bearer {api.token}"}
    head = httpx.head(url, headers=headers)
    assert head.headers["X-Repo-Commit"] == sha
    assert int(head.headers["Content-Length"]) == len(whole)
    rest = httpx.get(url, headers=headers | {"Range": "bytes=10-"})
    assert rest.status_code == 206 and rest.content == whole[10:]
    assert rest.headers["Content-Range"] == f"bytes 10-{len(whole) - 1}/{len(whole)}"
    behind = httpx.get(url, headers=headers | {"Range": f"bytes={len(whole)}-"})
    assert behind.status_code == 416
    same = httpx.get(url, headers=headers | {"If-None-Match": head.headers["ETag"]})
    assert same.status_code == 304 and same.content == b""


def test_trees_and_paths_are_told(client_of, alice, folder):
    api = client_of(alice)
    push(api, folder)
    top = {entry.path for entry in api.list_repo_tree("alice/tiny")}
    assert {"notes", "README.md", "config.json"} <= top and "notes/how.txt" not in top
    (inside,) = api.list_repo_tree("alice/tiny", path_in_repo="notes")
    assert (inside.path, inside.size) == ("notes/how.txt", 8)
    paths = {entry.path for entry in api.get_paths_info("alice/tiny", ["notes", "no", "README.md"])}
    assert paths == {"notes", "README.md"}
    assert api.file_exists("alice/tiny", "README.md")
    assert not api.file_exists("alice/tiny", "no.md")


def test_who_am_i(client_of, alice):
    assert client_of(alice).whoami()["name"] == "alice"


def test_a_card_whose_metadata_is_broken_is_refused(client_of, alice):
    api = client_of(alice)
    api.create_repo("alice/tiny")
    with pytest.raises(ValueError, match="Invalid metadata"):
        api.upload_file(
            path_or_fileobj=b"---\nlicense: [\n---\n",
            path_in_repo="README.md",
            repo_id="alice/tiny",
        )


def test_a_repo_is_private_until_its_owner_shows_it(client_of, alice, carol, folder):
    push(client_of(alice), folder)
    with pytest.raises(RepositoryNotFoundError):
        client_of(carol).repo_info("alice/tiny")
    with pytest.raises(RepositoryNotFoundError):
        client_of(carol).upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="alice/tiny")


def test_a_public_repo_is_read_and_not_written_by_others(client_of, alice, carol, folder):
    push(client_of(alice), folder, private=False)
    stranger = client_of(carol)
    assert stranger.repo_info("alice/tiny").private is False
    with pytest.raises(HfHubHTTPError, match="only its owner may change it"):
        stranger.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="alice/tiny")
    with pytest.raises(HfHubHTTPError, match="only its owner may change it"):
        stranger.delete_repo("alice/tiny")
    with pytest.raises(HfHubHTTPError, match="you may make repos under carol"):
        stranger.create_repo("alice/other")


def test_a_repo_is_deleted(client_of, alice, folder):
    api = client_of(alice)
    push(api, folder)
    api.delete_repo("alice/tiny")
    assert not api.repo_exists("alice/tiny")
    assert not Commit.objects.exists()


def test_a_token_that_only_reads_does_not_write(client_of, alice, folder):
    push(client_of(alice), folder)
    reader = client_of(alice, ["read"])
    assert reader.repo_exists("alice/tiny")
    with pytest.raises(HfHubHTTPError, match="scope"):
        reader.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="alice/tiny")


def test_nobody_reads_without_signing_in(hub, client_of, alice, folder):
    push(client_of(alice), folder, private=False)
    with pytest.raises(HfHubHTTPError, match="Sign in, or send an API token"):
        HfApi(endpoint=hub, token=False).repo_info("alice/tiny")
    assert httpx.get(f"{hub}/alice/tiny/resolve/main/config.json").status_code == 401


def test_a_branch_that_is_not_there_is_not_pushed_to(client_of, alice, folder):
    api = client_of(alice)
    push(api, folder)
    with pytest.raises(RevisionNotFoundError, match="has no branch"):
        api.upload_file(
            path_or_fileobj=b"x", path_in_repo="x", repo_id="alice/tiny", revision="dev"
        )


def test_a_run_pushes_its_adapter_and_nothing_else(hub, client_of, alice, bob, tmp_path):
    run = make_claimed_run(alice)  # its job's output is alice/tuned
    api = HfApi(endpoint=hub, token=make_run_token(run))
    adapter = write_folder(tmp_path / "adapter", ADAPTER_FILES)
    push(api, adapter, "alice/tuned")
    repo = Repo.objects.get()
    assert (repo.owner, repo.role, repo.visibility) == (alice, "adapter", "private")
    assert (repo.base_model, repo.base_revision) == ("athanor/tiny", "main")
    for repo_id in ("alice/other", "bob/tuned"):
        with pytest.raises(HfHubHTTPError, match="may write alice/tuned only"):
            api.create_repo(repo_id)
    with pytest.raises(HfHubHTTPError, match="may write alice/tuned only"):
        api.create_repo("alice/tuned", repo_type="dataset")


def test_an_administrators_run_has_no_more_rights_than_a_members(
    hub, client_of, alice, adam, folder
):
    push(client_of(alice), folder)
    Repo.objects.update(visibility="public")
    run = make_claimed_run(adam)
    run.job.output_repo = "alice/tiny"
    run.job.save()
    api = HfApi(endpoint=hub, token=make_run_token(run))
    with pytest.raises(HfHubHTTPError, match="only its owner may change it"):
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="alice/tiny")


def test_a_run_reads_what_its_owner_may_read(hub, client_of, alice, carol, folder):
    push(client_of(alice), folder)
    mine = HfApi(endpoint=hub, token=make_run_token(make_claimed_run(alice)))
    assert mine.repo_exists("alice/tiny")
    theirs = HfApi(endpoint=hub, token=make_run_token(make_job(owner=carol).current_run))
    assert not theirs.repo_exists("alice/tiny")


def test_a_server_of_the_platform_reads_everything_and_writes_nothing(
    hub, client_of, alice, carol, folder
):
    push(client_of(alice), folder)
    job = make_job(owner=carol, kind="serve", flavor="serve")
    api = HfApi(endpoint=hub, token=make_run_token(job.current_run))
    assert api.repo_exists("alice/tiny")
    with pytest.raises(HfHubHTTPError, match="may write nothing"):
        api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="alice/tiny")


def test_the_token_of_a_run_that_has_ended_opens_nothing(hub, client_of, alice, folder):
    push(client_of(alice), folder)
    run = make_claimed_run(alice)
    token = make_run_token(run)
    run.status, run.reason, run.ended_at = "stopped", "stopped_by_owner", run.created_at
    run.save()
    url = f"{hub}/api/models/alice/tiny"
    assert httpx.get(url, headers={"Authorization": f"Bearer {token}"}).status_code == 403


LOAD = """
import sys, datasets
loaded = datasets.load_dataset("alice/talk", split="train", cache_dir=sys.argv[1])
print(loaded.num_rows, loaded[0]["messages"][1]["content"])
"""


def test_a_dataset_pushed_is_checked_and_loaded(client_of, hub, alice, tmp_path):
    api = client_of(alice)
    rows = [{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}]
    lines = "".join(json.dumps(row) + "\n" for row in rows * 3)
    api.create_repo("alice/talk", repo_type="dataset")
    api.upload_file(
        path_or_fileobj=lines.encode(),
        path_in_repo="train.jsonl",
        repo_id="alice/talk",
        repo_type="dataset",
    )
    assert Repo.objects.get().num_rows == 3
    env = os.environ | {"HF_ENDPOINT": hub, "HF_TOKEN": api.token, "HF_HOME": str(tmp_path / "hf")}
    command = [sys.executable, "-c", LOAD, str(tmp_path / "cache")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["3", "a"], done.stderr[-3000:]


def test_the_same_bytes_are_kept_once(client_of, alice, folder):
    api = client_of(alice)
    push(api, folder)
    push(api, folder, "alice/twin")
    assert Blob.objects.count() == len(list(_files(folder)))


def _files(folder):
    return (path for path in Path(folder).rglob("*") if path.is_file())
