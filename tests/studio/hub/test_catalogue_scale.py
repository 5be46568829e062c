"""A page costs as many queries among a thousand repos as among ten, and words have their index."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from studio.hub.catalogue.search import RepoSearch, search_repos
from studio.hub.models import CommitFile, Repo
from tests.studio.hub.crowd import make_crowd

pytestmark = pytest.mark.django_db

LISTS = [
    "/api/hub/repos/",
    "/api/hub/repos/?search=数学 chat&kind=model",
    "/api/hub/repos/?search=model&language=zh&license=mit&sort=likes&min_size=1000&modality=text"
    "&max_size=99999999999999&updated_since=2000-01-01T00:00:00Z",
    "/api/hub/facets/?search=chat&kind=model",
    "/api/models?search=chat&limit=20&full=true",
]


def count_queries(client, path: str) -> int:
    with CaptureQueriesContext(
        connection,
    ) as seen:
        answer = client.get(path)
        assert answer.status_code == 200, answer.content
        assert answer.json().get("results", True) if isinstance(answer.json(), dict) else True
    return len(seen)


def find_page(files: int) -> str:
    """Return kind and name of the repo with so many files."""
    commit = (
        CommitFile.objects.filter(
            path=f"data/part-{(files - 1) // 20:03d}/file-{files - 1:05d}.bin"
        )
        .first()
        .commit
    )
    repo = commit.repo
    return f"{repo.kind}/{repo.repo_id}"


def test_lists_cost_the_same_number_of_queries_among_many_repos(api, alice):
    make_crowd(300, 3)
    few = {path: count_queries(api(alice), path) for path in LISTS}
    make_crowd(1000, 3, seed=8)
    assert {path: count_queries(api(alice), path) for path in LISTS} == few
    assert max(few.values()) <= 16


def test_a_repos_page_and_tree_cost_the_same_among_many_files(api, alice):
    make_crowd(3, 10)
    make_crowd(1, 5000, seed=9)
    Repo.objects.update(visibility="public")
    asked = []
    for files in (10, 5000):
        kind, _, repo_id = find_page(files).partition("/")
        pages = (
            f"/api/hub/repos/{kind}/{repo_id}/",
            f"/api/{kind}s/{repo_id}/tree/main?recursive=true",
            f"/api/{kind}s/{repo_id}",
        )
        asked.append([count_queries(api(alice), page) for page in pages])
    assert asked[0] == asked[1]
    assert max(asked[0]) <= 20


def test_words_are_found_by_their_index(alice):
    make_crowd(1000, 1)
    found = search_repos(alice, RepoSearch(search="person 787"))
    assert [repo.name.rpartition("-")[2] for repo in found] == ["787"]
    if connection.vendor != "postgresql":  # which alone has the index
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT gin_clean_pending_list('entry_words')")  # as autovacuum does
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")  # a thousand rows fit in a few pages
    plan = found.explain()
    assert "entry_words" in plan, plan
