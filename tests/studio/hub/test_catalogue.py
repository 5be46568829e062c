"""The catalogue: ten and more conditions, Chinese words, facets and likes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.hub.catalogue.models import CatalogueEntry, Like, RepoLabel
from studio.hub.catalogue.words import cut_for_keeping, cut_for_seeking
from studio.hub.models import Repo
from tests.studio.hub.made import make_row, push
from tests.studio.hub.weights import ADAPTER_FILES, MODEL_FILES

pytestmark = pytest.mark.django_db
REPOS, FACETS = "/api/hub/repos/", "/api/hub/facets/"
CARD = """---
license: mit
language: [zh, en]
task_categories: [question-answering]
tags: [medicine, exam]
---
# 医学问答

清华大学整理的医学问答数据集, with Qwen2.5 answers.
"""


@pytest.fixture
def shelf(alice, bob):
    """Two datasets, a base and an adapter of it."""
    rows = "".join(make_row() + "\n" for _ in range(3)).encode()
    push(alice, "alice/exam", {"train.jsonl": rows, "README.md": CARD.encode()})
    push(bob, "bob/pictures", {"cat/1.png": b"x", "a.parquet": b"y"}, visibility="public")
    base = b"---\nlicense: apache-2.0\npipeline_tag: text-generation\n---\nA base."
    push(bob, "bob/tiny", MODEL_FILES | {"README.md": base}, kind="model", visibility="public")
    made = json.dumps({"base": {"repo": "bob/tiny", "revision": "main"}}).encode()
    push(alice, "alice/tuned", ADAPTER_FILES | {"athanor.json": made}, kind="model")


@pytest.fixture
def ids(api, alice, shelf):
    def search(**query):
        return {repo["id"] for repo in api(alice).get(REPOS, query).json()["results"]}

    return search


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"search": "清华大学"}, {"alice/exam"}),
        ({"search": "清华"}, {"alice/exam"}),
        ({"search": "医学 qwen2"}, {"alice/exam"}),
        ({"search": "MEDICINE"}, {"alice/exam"}),
        ({"search": "bob/ti"}, {"bob/tiny"}),
        ({"search": "北京大学"}, set()),
        ({"search": "% _ ' \\ & | :*"}, {"alice/exam", "bob/pictures", "bob/tiny", "alice/tuned"}),
        ({"task": "text-generation"}, {"bob/tiny"}),
        ({"language": "zh,fr"}, {"alice/exam"}),
        ({"modality": "image"}, {"bob/pictures"}),
        ({"format": "parquet"}, {"bob/pictures"}),
        ({"license": "mit"}, {"alice/exam"}),
        ({"library": "transformers"}, {"bob/tiny"}),
        ({"tag": "medicine,exam"}, {"alice/exam"}),
        ({"tag": "medicine,law"}, set()),
        ({"base_model": "bob/tiny"}, {"alice/tuned"}),
        ({"base_relation": "adapter"}, {"alice/tuned"}),
        ({"owner": "alice", "kind": "model"}, {"alice/tuned"}),
        ({"organization": "Bob", "kind": "dataset"}, {"bob/pictures"}),
        ({"min_rows": 3}, {"alice/exam"}),
        ({"max_size": 2}, {"bob/pictures"}),
        ({"visibility": "private", "kind": "dataset"}, {"alice/exam"}),
        ({"updated_since": "2999-01-01"}, set()),
        ({"liked": "true"}, set()),
        ({"gated": "true"}, set()),
        ({"gated": "false", "kind": "dataset"}, {"alice/exam", "bob/pictures"}),
    ],
)
def test_each_condition_narrows(ids, query, found):
    assert ids(**query) == found


def test_twelve_conditions_hold_together(ids):
    wanted = {
        "kind": "dataset",
        "role": "dataset",
        "search": "问答",
        "owner": "alice",
        "organization": "alice",
        "task": "question-answering",
        "language": "zh",
        "modality": "text",
        "format": "jsonl",
        "license": "mit",
        "tag": "exam",
        "min_rows": 1,
        "max_rows": 5,
        "updated_since": "2020-01-01",
    }
    assert ids(**wanted) == {"alice/exam"}
    assert ids(**wanted | {"license": "apache-2.0"}) == set()


def test_parameters_are_counted_once_the_commit_is_done(
    api, alice, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        push(alice, "alice/tiny", MODEL_FILES, kind="model")
    shown = api(alice).get(REPOS, {"min_params": 264, "max_params": 264}).json()["results"]
    assert [repo["num_params"] for repo in shown] == [264]


@pytest.mark.parametrize(
    "query", [{"sort": "x"}, {"min_size": "-1"}, {"min_rows": "x"}, {"updated_since": "soon"}]
)
def test_a_condition_that_is_none_names_its_field(api, alice, query):
    answer = api(alice).get(REPOS, query)
    assert (answer.status_code, answer.json()["field"]) == (400, next(iter(query)))


def test_facets_count_what_each_choice_would_leave(api, alice, shelf):
    facets = api(alice).get(FACETS, {"kind": "dataset", "license": "mit"}).json()
    assert facets["language"] == [{"value": "en", "count": 1}, {"value": "zh", "count": 1}]
    assert facets["organization"] == [{"value": "alice", "count": 1}]
    assert facets["license"] == [{"value": "mit", "count": 1}]
    assert facets["modality"] == [{"value": "text", "count": 1}]


def test_a_stranger_finds_and_counts_nothing_private(api, carol, shelf):
    assert api(carol).get(REPOS, {"search": "清华"}).json()["count"] == 0
    assert api(carol).get(FACETS).json()["tag"] == []
    assert api(carol).put(f"{REPOS}dataset/alice/exam/like/").status_code == 404
    assert api().get(FACETS).status_code == 401
    assert not Like.objects.exists()


def test_a_person_likes_a_repo_once(api, alice, bob, carol, shelf):
    url = f"{REPOS}dataset/bob/pictures/like/"
    for _ in range(2):
        assert api(alice).put(url).json() == {"likes": 1, "is_liked": True}
    assert api(carol).put(url).json()["likes"] == 2
    first = api(alice).get(REPOS, {"sort": "likes"}).json()["results"][0]
    assert (first["id"], first["likes"], first["is_liked"]) == ("bob/pictures", 2, True)
    assert api(bob).get(f"{REPOS}dataset/bob/pictures/").json()["is_liked"] is False
    assert api(alice).get(REPOS, {"liked": "true"}).json()["count"] == 1
    for _ in range(2):
        assert api(alice).delete(url).json() == {"likes": 1, "is_liked": False}


def test_a_commit_and_a_new_summary_are_found_at_once(api, alice, shelf):
    push(alice, "alice/exam", {"README.md": b"Alchemy"})
    found = api(alice).get(REPOS, {"search": "alchemy"}).json()
    assert [repo["id"] for repo in found["results"]] == ["alice/exam"]
    assert RepoLabel.objects.filter(repo__name="exam", kind="language").count() == 0
    url = f"{REPOS}dataset/alice/exam/"
    api(alice).patch(url, {"summary": "Philosopher"}, format="json")
    assert api(alice).get(REPOS, {"search": "philo alch"}).json()["count"] == 1


def test_a_page_takes_as_many_queries_however_many_repos_it_shows(
    api, alice, django_assert_max_num_queries
):
    repos = Repo.objects.bulk_create(
        Repo(kind="model", namespace="alice", name=f"m{n}", owner=alice, role="base")
        for n in range(60)
    )
    CatalogueEntry.objects.bulk_create(
        CatalogueEntry(repo=repo, words=cut_for_keeping(repo.name)) for repo in repos
    )
    client = api(alice)
    with django_assert_max_num_queries(7):
        assert len(client.get(REPOS, {"page_size": 50}).json()["results"]) == 50
    with django_assert_max_num_queries(11):
        client.get(FACETS)


HOSTILE = {"language": [1, None, {"a": 1}], "tags": "x" * 500, "license": ["mit"], "task": 3}


def test_a_card_of_odd_values_is_passed_over(api, alice):
    card = f"---\n{json.dumps(HOSTILE)}\n---\n".encode()
    push(alice, "alice/odd", {"README.md": card, "a.csv": b"x"})
    (repo,) = api(alice).get(REPOS).json()["results"]
    assert (repo["languages"], repo["formats"]) == ([], ["csv"])


@given(st.text(max_size=200))
def test_every_sought_word_of_a_text_is_safe_to_seek(text):
    for word in cut_for_seeking(text):
        assert word and not set(word) & set("'\\ %_:*&|!()")
    assert "\0" not in cut_for_keeping(text)
