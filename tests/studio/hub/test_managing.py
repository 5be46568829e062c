"""Branches, tags, moves, gates and organizations with Hugging Face's own client."""

import threading
from pathlib import Path

import httpx
import pytest
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationCopy,
    CommitOperationDelete,
    HfFileSystem,
    ModelCard,
    hf_hub_download,
)
from huggingface_hub.errors import (
    BadRequestError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from studio.accounts.models import Organization, OrganizationMember
from studio.hub.models import Commit, Repo

BIG = bytes(range(256)) * 6000  # goes by Xet


@pytest.fixture(autouse=True)
def fresh_client(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "hf" / "xet"))


@pytest.fixture
def repo(client_of, alice):
    """alice's repo with a card and a large file."""
    api = client_of(alice)
    api.create_repo("alice/tiny")
    put(api, "README.md", b"---\nlicense: mit\n---\n# Tiny\n")
    put(api, "m.bin", BIG)
    return api


def put(api, path: str, content: bytes, **options) -> str:
    options.setdefault("repo_id", "alice/tiny")
    return str(api.upload_file(path_or_fileobj=content, path_in_repo=path, **options).oid)


def fetch(api, repo_id: str, path: str, folder: Path, **options) -> bytes:
    options |= {"endpoint": api.endpoint, "token": api.token, "cache_dir": folder / "cache"}
    return Path(hf_hub_download(repo_id, path, **options)).read_bytes()


def make_organization(name: str, **roles) -> Organization:
    organization = Organization.objects.create(name=name)
    for role, users in roles.items():
        for user in users:
            OrganizationMember.objects.create(organization=organization, user=user, role=role)
    return organization


def test_a_branch_goes_its_own_way(repo, tmp_path):
    repo.create_branch("alice/tiny", branch="try/out")
    sha = put(repo, "x.txt", b"on the branch", revision="try/out")
    assert "x.txt" not in repo.list_repo_files("alice/tiny")
    assert "x.txt" in repo.list_repo_files("alice/tiny", revision="try/out")
    assert fetch(repo, "alice/tiny", "x.txt", tmp_path, revision="try/out") == b"on the branch"
    refs = repo.list_repo_refs("alice/tiny")
    assert {ref.name: ref.target_commit for ref in refs.branches}["try/out"] == sha
    titles = [each.title for each in repo.list_repo_commits("alice/tiny", revision="try/out")]
    assert len(titles) == 4 and len(repo.list_repo_commits("alice/tiny")) == 3
    with pytest.raises(HfHubHTTPError, match="already"):
        repo.create_branch("alice/tiny", branch="try/out")
    repo.create_branch("alice/tiny", branch="try/out", exist_ok=True)
    repo.delete_branch("alice/tiny", branch="try/out")
    with pytest.raises(RevisionNotFoundError):
        repo.list_repo_files("alice/tiny", revision="try/out")
    assert repo.repo_info("alice/tiny", revision=sha).sha == sha  # its commits stay


def test_a_tag_stays_where_it_is(repo):
    first = repo.list_repo_commits("alice/tiny")[-1].commit_id
    repo.create_tag("alice/tiny", tag="v1.0", revision=first, tag_message="the first")
    put(repo, "later.txt", b"later")
    assert repo.repo_info("alice/tiny", revision="v1.0").sha == first
    assert repo.revision_exists("alice/tiny", "v1.0")
    assert [tag.name for tag in repo.list_repo_refs("alice/tiny").tags] == ["v1.0"]
    with pytest.raises(HfHubHTTPError):
        repo.create_tag("alice/tiny", tag="v1.0")
    repo.delete_tag("alice/tiny", tag="v1.0")
    assert not repo.revision_exists("alice/tiny", "v1.0")


@pytest.mark.parametrize("name", ["a b", "..", "-x", "a..b", "x.lock", "main", "\u706b" * 3, "/x"])
def test_what_names_no_ref_is_refused(repo, name):
    with pytest.raises(HfHubHTTPError) as refused:
        repo.create_tag("alice/tiny", tag=name)
    assert refused.value.response.status_code in {400, 409}


def test_files_are_copied_within_a_repo_and_between_repos(repo, client_of, bob, tmp_path):
    operations = [
        CommitOperationCopy("m.bin", "copy/m.bin"),
        CommitOperationCopy("README.md", "copy/README.md"),
        CommitOperationDelete("m.bin"),
    ]
    repo.create_commit("alice/tiny", operations, commit_message="move it")
    files = set(repo.list_repo_files("alice/tiny"))
    assert files == {"README.md", "copy/m.bin", "copy/README.md"}
    other = client_of(bob)
    other.create_repo("bob/mine")
    copy = CommitOperationCopy(
        "copy/m.bin", "m.bin", src_repo_id="alice/tiny", src_repo_type="model"
    )
    with pytest.raises(RepositoryNotFoundError):  # alice's repo is private
        other.create_commit("bob/mine", [copy], commit_message="take it")
    repo.update_repo_settings("alice/tiny", private=False)
    copy = CommitOperationCopy(
        "copy/m.bin", "m.bin", src_repo_id="alice/tiny", src_repo_type="model"
    )
    other.create_commit("bob/mine", [copy], commit_message="take it")
    assert fetch(other, "bob/mine", "m.bin", tmp_path) == BIG


def test_a_tree_tells_who_changed_what_last(repo):
    sha = put(repo, "sub/late.txt", b"late")
    entries = {each.path: each for each in repo.list_repo_tree("alice/tiny", expand=True)}
    assert entries["sub"].tree_id and entries["README.md"].last_commit.oid != sha
    inside = list(repo.list_repo_tree("alice/tiny", "sub", expand=True))
    assert inside[0].last_commit.oid == sha
    (info,) = repo.get_paths_info("alice/tiny", "m.bin", expand=True)
    assert info.last_commit.oid != sha and info.xet_hash


def test_long_lists_come_in_pages_and_each_page_once(repo, monkeypatch):
    monkeypatch.setattr("studio.hub.huggingface.apis._PAGE", 3)
    monkeypatch.setattr("studio.hub.huggingface.apis._EXPANDED_PAGE", 2)
    operations = [CommitOperationAdd(f"n/{number}.txt", b"x") for number in range(7)]
    repo.create_commit("alice/tiny", operations, commit_message="many")
    for expand in (False, True):
        paths = [each.path for each in repo.list_repo_tree("alice/tiny", "n", expand=expand)]
        assert paths == [f"n/{number}.txt" for number in range(7)]
    assert len(repo.list_repo_commits("alice/tiny")) == 4


def test_a_squashed_branch_has_one_commit_and_all_files(repo):
    before = repo.list_repo_files("alice/tiny")
    repo.super_squash_history("alice/tiny", commit_message="begin anew")
    (commit,) = repo.list_repo_commits("alice/tiny")
    assert commit.title == "begin anew" and repo.list_repo_files("alice/tiny") == before


def test_a_moved_repo_is_found_by_both_names_until_the_old_one_is_taken(repo, client_of, bob):
    repo.move_repo("alice/tiny", "alice/small")
    assert repo.repo_info("alice/tiny").id == "alice/small"
    put(repo, "x", b"x", repo_id="alice/tiny")
    repo.create_repo("alice/tiny")
    assert repo.repo_info("alice/tiny").id == "alice/tiny"
    with pytest.raises(HfHubHTTPError, match="already"):
        repo.move_repo("alice/small", "alice/tiny")
    with pytest.raises(HfHubHTTPError, match="you may make repos under"):
        repo.move_repo("alice/small", "bob/small")
    with pytest.raises(RepositoryNotFoundError):
        client_of(bob).move_repo("alice/small", "bob/small")


def test_a_filesystem_reads_and_writes(repo):
    files = HfFileSystem(endpoint=repo.endpoint, token=repo.token, skip_instance_cache=True)
    assert "alice/tiny/m.bin" in files.ls("alice/tiny", detail=False)
    with files.open("alice/tiny/m.bin", "rb") as file:
        file.seek(1000)
        assert file.read(300) == BIG[1000:1300]
    with files.open("alice/tiny/new.txt", "w") as file:
        file.write("written")
    files.invalidate_cache()
    assert files.cat("alice/tiny/new.txt") == b"written"
    files.rm("alice/tiny/new.txt")
    files.invalidate_cache()
    assert not files.exists("alice/tiny/new.txt")


def test_a_card_is_pushed(repo):
    card = ModelCard("---\nlicense: apache-2.0\n---\n# Better\n")
    repo.upload_file(
        path_or_fileobj=str(card).encode(), path_in_repo="README.md", repo_id="alice/tiny"
    )
    assert repo.model_info("alice/tiny").card_data.license == "apache-2.0"


def test_repos_are_listed_and_narrowed(repo, client_of, carol):
    repo.create_repo("alice/data", repo_type="dataset", private=False)
    repo.update_repo_settings("alice/tiny", private=False)
    other = client_of(carol)
    assert [each.id for each in other.list_models(author="alice")] == ["alice/tiny"]
    assert [each.id for each in other.list_models(search="tin", limit=5)] == ["alice/tiny"]
    assert [each.id for each in other.list_models(filter="mit")] == ["alice/tiny"]
    assert [each.id for each in other.list_datasets(sort="downloads")] == ["alice/data"]
    repo.update_repo_settings("alice/tiny", private=True)
    assert list(other.list_models()) == []


@pytest.mark.parametrize("gated", ["auto", "manual"])
def test_a_gated_repo_shows_itself_and_gives_its_files_to_who_was_let_in(
    repo, client_of, bob, gated, tmp_path
):
    repo.update_repo_settings("alice/tiny", private=False, gated=gated)
    other = client_of(bob)
    assert other.model_info("alice/tiny").gated == gated
    assert "m.bin" in other.list_repo_files("alice/tiny")
    for path in ("m.bin", "README.md"):
        with pytest.raises(GatedRepoError, match="restricted"):
            fetch(other, "alice/tiny", path, tmp_path)
    with pytest.raises(GatedRepoError):
        other.auth_check("alice/tiny")
    _ask(other)
    if gated == "manual":
        with pytest.raises(GatedRepoError):
            other.auth_check("alice/tiny")
        (asked,) = repo.list_pending_access_requests("alice/tiny")
        assert asked.username == "bob"
        repo.accept_access_request("alice/tiny", "bob")
        assert not list(repo.list_pending_access_requests("alice/tiny"))
    assert fetch(other, "alice/tiny", "m.bin", tmp_path) == BIG
    repo.reject_access_request("alice/tiny", "bob", rejection_reason="no more")
    with pytest.raises(GatedRepoError):
        other.auth_check("alice/tiny")
    with pytest.raises(HfHubHTTPError) as refused:
        list(other.list_pending_access_requests("alice/tiny"))
    assert refused.value.response.status_code == 403
    repo.grant_access("alice/tiny", "bob")
    other.auth_check("alice/tiny")


def _ask(api) -> None:
    url = f"{api.endpoint}/api/models/alice/tiny/ask-access"
    answer = httpx.post(url, headers={"Authorization": f"Bearer {api.token}"})
    assert answer.status_code == 200, answer.text


def test_an_organization_is_a_namespace_of_its_writers(client_of, alice, bob, carol):
    make_organization("camp", contributor=[alice], member=[bob])
    api, mate, stranger = client_of(alice), client_of(bob), client_of(carol)
    assert [org["name"] for org in api.whoami()["orgs"]] == ["camp"]
    api.create_repo("camp/base")
    put(api, "x", b"x", repo_id="camp/base")
    assert Repo.objects.get().organization.name == "camp"
    for other in (mate, stranger):
        with pytest.raises(RepositoryNotFoundError):
            other.repo_info("camp/base")
        with pytest.raises(HfHubHTTPError, match="you may make repos under"):
            other.create_repo("camp/own")
    Repo.objects.update(visibility="class")
    assert mate.repo_info("camp/base").id == "camp/base"
    with pytest.raises(HfHubHTTPError) as refused:
        put(mate, "y", b"y", repo_id="camp/base")
    assert refused.value.response.status_code == 403
    with pytest.raises(RepositoryNotFoundError):
        stranger.repo_info("camp/base")


def test_class_mates_see_what_is_for_the_class(repo, client_of, alice, bob, carol):
    Repo.objects.update(visibility="class")
    with pytest.raises(RepositoryNotFoundError):
        client_of(bob).repo_info("alice/tiny")
    make_organization("camp", member=[alice, bob])
    assert client_of(bob).repo_info("alice/tiny").private
    with pytest.raises(RepositoryNotFoundError):
        client_of(carol).repo_info("alice/tiny")


def test_two_pushes_at_once_to_a_branch_and_to_main_lose_nothing(repo):
    repo.create_branch("alice/tiny", branch="side")
    threads = [
        threading.Thread(
            target=put,
            args=(repo, f"{branch}-{number}.txt", b"x"),
            kwargs={"revision": branch},
        )
        for number in range(3)
        for branch in ("main", "side")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for branch in ("main", "side"):
        files = repo.list_repo_files("alice/tiny", revision=branch)
        assert {f"{branch}-{number}.txt" for number in range(3)} <= set(files)
    assert Commit.objects.count() == 9


def test_pull_requests_are_refused_in_one_sentence(repo):
    with pytest.raises(BadRequestError, match="no pull requests"):
        put(repo, "x", b"x", create_pr=True)


@pytest.mark.parametrize(
    "query", ["limit=\u00b2", "cursor=\u00b2", "cursor=" + "9" * 50, "limit=-1"]
)
def test_numbers_that_are_none_are_passed_over(repo, query):
    headers = {"Authorization": f"Bearer {repo.token}"}
    for address in ("/api/models", "/api/models/alice/tiny/tree/main"):
        answer = httpx.get(f"{repo.endpoint}{address}?{query}", headers=headers)
        assert answer.status_code == 200, answer.text


def test_what_people_like_is_counted_and_listed(repo, client_of, carol):
    repo.update_repo_settings("alice/tiny", private=False)
    other = client_of(carol)
    url = f"{other.endpoint}/api/models/alice/tiny/like"
    for _ in range(2):
        liked = httpx.post(url, headers={"Authorization": f"Bearer {other.token}"})
        assert liked.status_code == 200
    assert other.model_info("alice/tiny").likes == 1
    assert [each.username for each in repo.list_repo_likers("alice/tiny")] == ["carol"]
    assert other.list_liked_repos().models == ["alice/tiny"]
    assert [each.id for each in other.list_models(sort="likes")] == ["alice/tiny"]
    other.unlike("alice/tiny")
    assert other.list_liked_repos().total == 0
    repo.update_repo_settings("alice/tiny", private=True)
    refused = httpx.post(url, headers={"Authorization": f"Bearer {other.token}"})
    assert refused.status_code == 404
