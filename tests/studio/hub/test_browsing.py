"""A repo's pages: revisions, folders, history and what a file holds, as the dashboard asks."""

import pytest

from studio.hub.models import Commit, Repo
from studio.hub.refs import create_ref
from studio.hub.services import Changes, RepoName, Words, commit_files, create_repo
from tests.studio.hub.made import push, store
from tests.studio.hub.weights import ADAPTER_FILES, MODEL_FILES, make_safetensors

pytestmark = pytest.mark.django_db
CARD = b"---\nlicense: mit\ntags: [new]\n---\n# Second\n"
PAGE = "/api/hub/repos/model/alice/m/"


@pytest.fixture
def model(alice) -> Repo:
    """A model of three commits: a tag at the first, a branch beside the last."""
    first = push(alice, "alice/m", MODEL_FILES, kind="model", message="Begin")
    repo = first.repo
    create_ref(by=alice, repo=repo, kind="tag", name="v1", commit=first)
    push(alice, "alice/m", {"README.md": CARD}, kind="model", message="Say more")
    create_ref(by=alice, repo=repo, kind="branch", name="dev/x", commit=first)
    commit_files(
        by=alice,
        repo=repo,
        changes=Changes({"notes/a.txt": store(b"on dev")}),
        words=Words("Try"),
        branch="dev/x",
    )
    return Repo.objects.get(pk=repo.pk)


def test_a_page_follows_its_revision(api, alice, model):
    main = api(alice).get(PAGE).json()
    old = api(alice).get(f"{PAGE}?revision=v1").json()
    assert (main["card"], main["license"], main["tags"]) == ("# Second\n", "mit", ["new"])
    assert (old["card"], old["license"], old["tags"]) == ("", "", [])
    assert old["revision"] != main["revision"]
    assert old["facts"] == main["facts"]
    dev = api(alice).get(f"{PAGE}?revision=dev/x").json()
    assert "notes/a.txt" in {file["path"] for file in dev["files"]}


def test_a_page_lists_branches_then_tags(api, alice, model):
    refs = api(alice).get(PAGE).json()["refs"]
    assert [(ref["name"], ref["kind"]) for ref in refs] == [
        ("main", "branch"),
        ("dev/x", "branch"),
        ("v1", "tag"),
    ]
    assert refs[0]["revision"] == model.head.sha


def test_the_role_is_that_of_the_files_shown(api, alice):
    first = push(alice, "alice/m", MODEL_FILES, kind="model")
    create_ref(by=alice, repo=first.repo, kind="tag", name="base", commit=first)
    push(alice, "alice/m", ADAPTER_FILES, kind="model")
    now, before = (api(alice).get(f"{PAGE}?revision={name}").json() for name in ("main", "base"))
    assert (now["role"], now["base_model"], now["facts"]) == ("adapter", "athanor/tiny", None)
    assert (before["role"], before["base_model"]) == ("base", None)
    assert before["facts"]["num_layers"] == 2


@pytest.mark.parametrize("revision", ["nowhere", "../main", "x" * 100, "%00", "refs/heads/"])
def test_a_revision_that_is_none_is_not_found(api, alice, model, revision):
    answer = api(alice).get(f"{PAGE}?revision={revision}")
    assert answer.status_code in {400, 404}, answer.content


def get(api, user, address: str, /, **query):
    answer = api(user).get(f"{PAGE}{address}", query)
    return answer.json() if answer.status_code == 200 else answer.status_code


class TestFolders:
    def test_a_folder_lists_its_own_entries_with_their_last_commits(self, api, alice):
        push(alice, "alice/m", {"a/b/c.txt": b"1", "a/d.txt": b"1", "e.txt": b"1"}, kind="model")
        push(alice, "alice/m", {"a/b/c.txt": b"2"}, kind="model", message="Deep")
        push(alice, "alice/m", {"e.txt": b"333", "new.txt": b""}, kind="model", message="Shallow")
        top = get(api, alice, "folder/")
        assert [(e["name"], e["is_folder"], e["num_files"]) for e in top["results"]] == [
            ("a", True, 2),
            ("e.txt", False, 1),
            ("new.txt", False, 1),
        ]
        assert [e["size_bytes"] for e in top["results"]] == [2, 3, 0]
        assert [e["last"]["title"] for e in top["results"]] == ["Deep", "Shallow", "Shallow"]
        inner = get(api, alice, "folder/", folder="a")
        assert [(e["path"], e["last"]["title"]) for e in inner["results"]] == [
            ("a/b", "Deep"),
            ("a/d.txt", "Push"),
        ]
        assert inner["results"][0]["sha256"] == "" and len(inner["results"][1]["sha256"]) == 64

    def test_what_was_deleted_or_put_back_changed_its_folder(self, api, alice):
        first = push(alice, "alice/m", {"a/x": b"1", "a/y": b"1", "b/x": b"1"}, kind="model")
        for changes, message in (
            (Changes(deleted_files={"a/y"}), "Drop y"),
            (Changes({"b/x": store(b"2")}), "Change b"),
            (Changes({"b/x": store(b"1")}), "Put b back"),
        ):
            commit_files(by=alice, repo=first.repo, changes=changes, words=Words(message))
        last = {e["name"]: e["last"]["title"] for e in get(api, alice, "folder/")["results"]}
        assert last == {"a": "Drop y", "b": "Put b back"}

    def test_it_is_of_the_revision_asked_for(self, api, alice, model):
        names = [e["name"] for e in get(api, alice, "folder/", revision="dev/x")["results"]]
        assert "notes" in names and "README.md" not in names
        last = get(api, alice, "folder/", revision="dev/x")["results"][0]["last"]
        assert last["title"] == "Try"

    def test_capitals_and_odd_letters_are_kept_apart(self, api, alice):
        files = {"Data/a": b"1", "data/b": b"2", "d%_/c": b"3", "\u6570\u636e/\U0001f600/d": b"4"}
        push(alice, "alice/m", files, kind="model")
        for folder, inside in (
            ("Data", ["a"]),
            ("data", ["b"]),
            ("d%_", ["c"]),
            ("\u6570\u636e", ["\U0001f600"]),
        ):
            listed = get(api, alice, "folder/", folder=folder)
            assert [e["name"] for e in listed["results"]] == inside
            assert all(e["last"] for e in listed["results"])

    def test_it_is_paged(self, api, alice):
        push(alice, "alice/m", {f"{n:03}": b"1" for n in range(30)}, kind="model")
        page = get(api, alice, "folder/", page=2, page_size=20)
        assert (page["count"], [e["name"] for e in page["results"]][0]) == (30, "020")

    @pytest.mark.parametrize("folder", ["none", "..", "config.json", "a" * 1024, "/etc", "\\"])
    def test_what_is_no_folder_is_not_found(self, api, alice, model, folder):
        assert get(api, alice, "folder/", folder=folder) == 404

    def test_an_empty_repo_has_an_empty_folder_and_no_history(self, api, alice):
        create_repo(by=alice, wanted=RepoName("model", "alice", "m"))
        assert get(api, alice, "folder/")["results"] == []
        assert get(api, alice, "history/")["results"] == []


class TestHistory:
    def test_it_is_that_of_the_revision_newest_first(self, api, alice, model):
        main, dev = (get(api, alice, "history/", revision=name) for name in ("main", "dev/x"))
        assert [line["title"] for line in main["results"]] == ["Say more", "Begin"]
        assert [line["title"] for line in dev["results"]] == ["Try", "Begin"]
        assert main["results"][0]["names"] == ["main"]
        assert (dev["results"][0]["names"], dev["results"][1]["names"]) == (["dev/x"], ["v1"])
        assert main["results"][0]["author"] == "alice"

    def test_a_commit_tells_what_it_did_to_each_file(self, api, alice, model):
        changes = Changes(
            {"README.md": store(b"# Third\n"), "n.txt": store(b"new")}, {"tokenizer.json"}
        )
        commit = commit_files(by=alice, repo=model, changes=changes, words=Words("Mix", "Why"))
        told = get(api, alice, f"history/{commit.sha}/")
        assert [(c["path"], c["kind"], c["size_after"]) for c in told["results"]] == [
            ("README.md", "changed", 8),
            ("n.txt", "added", 3),
            ("tokenizer.json", "deleted", None),
        ]
        assert (told["num_added"], told["num_changed"], told["num_deleted"]) == (1, 1, 1)
        assert (told["title"], told["description"]) == ("Mix", "Why")
        assert told["parent_revision"] == model.head.sha
        first = get(api, alice, "history/", page=2, page_size=2)["results"][0]["revision"]
        assert get(api, alice, f"history/{first}/")["num_added"] == len(MODEL_FILES)

    def test_a_small_text_is_compared_line_by_line(self, api, alice, model):
        commit = push(alice, "alice/m", {"README.md": b"# Third\n\xe4\xbd\xa0"}, kind="model")
        told = get(api, alice, f"history/{commit.sha}/diff/", path="README.md")
        assert told["diff"].split("\n") == [
            "@@ -1,5 +1,2 @@",
            "----",
            "-license: mit",
            "-tags: [new]",
            "----",
            "-# Second",
            "+# Third",
            "+\u4f60",
        ]
        assert told["note"] == ""

    @pytest.mark.parametrize(
        ("before", "after", "note"),
        [
            (b"a", b"\xff\xfe", "binary"),
            (b"a\0", b"a", "binary"),
            (b"a", b"b" * (64 * 2**10 + 1), "large"),
            (b"a", b"\n" * 2001, "large"),
            (b"a\n", b"a", "same"),
        ],
    )
    def test_what_cannot_be_compared_says_why(self, api, alice, before, after, note):
        push(alice, "alice/m", {"f": before}, kind="model")
        commit = push(alice, "alice/m", {"f": after}, kind="model")
        told = get(api, alice, f"history/{commit.sha}/diff/", path="f")
        assert (told["note"], told["diff"]) == (note, "")

    def test_lines_that_are_hard_to_compare_are_compared(self, api, alice):
        words = [f"{n % 40}" for n in range(2000)]
        push(alice, "alice/m", {"f": "\n".join(words).encode()}, kind="model")
        harder = "\n".join(sorted(words)).encode()
        commit = push(alice, "alice/m", {"f": harder}, kind="model")
        assert get(api, alice, f"history/{commit.sha}/diff/", path="f")["diff"]

    @pytest.mark.parametrize("path", ["none", "../README.md", "a" * 1024])
    def test_a_file_that_is_on_neither_side_is_not_found(self, api, alice, model, path):
        assert get(api, alice, f"history/{model.head.sha}/diff/", path=path) == 404
        assert get(api, alice, f"history/{'f' * 40}/") == 404

    def test_another_repo_s_commit_is_not_found(self, api, alice, model):
        other = push(alice, "alice/other", MODEL_FILES, kind="model")
        assert get(api, alice, f"history/{other.sha}/") == 404


class TestTensors:
    def test_they_are_paged_and_sought(self, api, alice):
        shapes = {f"layer.{n}.Weight": [2, n + 1] for n in range(30)}
        push(alice, "alice/m", {"m.safetensors": make_safetensors(shapes)}, kind="model")
        page = get(api, alice, "tensors/", path="m.safetensors", page=2, page_size=20)
        assert (page["count"], page["num_tensors"], len(page["results"])) == (30, 30, 10)
        assert page["results"][0] == {
            "name": "layer.20.Weight",
            "dtype": "F32",
            "shape": [2, 21],
            "num_params": 42,
        }
        assert (page["num_params"], page["metadata"]) == (930, {"format": "pt"})
        found = get(api, alice, "tensors/", path="m.safetensors", search="9.weight")
        assert (found["count"], found["num_tensors"]) == (3, 30)

    @pytest.mark.parametrize("path", ["README.md", "broken.gguf", "broken.safetensors", ""])
    def test_a_file_without_them_says_so(self, api, alice, path):
        files = {"broken.gguf": b"GGUF", "broken.safetensors": b"\xff" * 9, "README.md": b""}
        push(alice, "alice/m", files, kind="model")
        answer = api(alice).get(f"{PAGE}tensors/", {"path": path})
        assert answer.status_code == 400 and answer.json()["field"] == "path"


class TestLosses:
    def test_they_name_who_builds_on_it(self, api, alice, bob, model):
        push(alice, "alice/mine", on_base("alice/m"), kind="model")
        push(bob, "bob/open", on_base("Alice/M"), kind="model", visibility="public")
        push(bob, "bob/secret", on_base("alice/m"), kind="model")
        told = get(api, alice, "losses/")
        assert sorted(told["users"]) == ["alice/mine", "bob/open"]
        assert (told["num_users"], told["num_revisions"], told["num_refs"]) == (2, 3, 2)
        assert told["num_files"] == len(MODEL_FILES) + 1
        everything = {**MODEL_FILES, "README.md": CARD, "notes/a.txt": b"on dev"}
        assert told["size_bytes"] == sum(map(len, everything.values()))

    def test_who_may_not_delete_it_is_not_told(self, api, alice, bob, carol, model):
        assert get(api, carol, "losses/") == 404
        Repo.objects.update(visibility="public")
        assert get(api, carol, "losses/") == 403


def on_base(base: str) -> dict[str, bytes]:
    return {"README.md": f"---\nbase_model: {base}\n---\n".encode()}


ADDRESSES = ["folder/", "history/", "history/{sha}/"]
READING = ["history/{sha}/diff/?path=config.json", "tensors/?path=model.safetensors"]


def test_a_stranger_cannot_learn_of_any_of_it(api, alice, carol, model):
    first = Commit.objects.filter(repo=model).earliest("pk")
    for address in ADDRESSES + READING:
        path = address.format(sha=first.sha)
        assert api(carol).get(PAGE + path).status_code == 404
        assert api(alice).get(PAGE + path).status_code == 200


def test_a_gate_keeps_what_is_in_the_files(api, alice, carol, model):
    first = Commit.objects.filter(repo=model).earliest("pk")
    Repo.objects.update(visibility="public", gate="manual")
    for address in ADDRESSES:
        assert api(carol).get(PAGE + address.format(sha=first.sha)).status_code == 200
    for address in READING:
        assert api(carol).get(PAGE + address.format(sha=first.sha)).status_code == 403


class TestFacts:
    def test_weights_are_told_of_models_that_are_no_decoders_we_know(self, api, alice):
        files = {"model.safetensors": MODEL_FILES["model.safetensors"], "config.json": b"{}"}
        push(alice, "alice/m", files, kind="model")
        page = get(api, alice, "")
        assert page["facts"] is None
        assert page["weights"] == {
            "format": "safetensors",
            "num_files": 1,
            "num_params": 264,
            "dtypes": {"F32": 264},
            "memory_bytes": {"fp32": 1056, "bf16": 528, "int8": 264, "int4": 132},
        }

    @pytest.mark.parametrize(
        ("licence", "name"),
        [
            ("mit", "MIT License"),
            ("Apache-2.0", "Apache License 2.0"),
            ("cc-by-nc-sa-4.0", None),
            ("cc-by-x-4.0", ""),
            ("cc-by-9.9", ""),
            ("mine", ""),
        ],
    )
    def test_a_licence_has_its_full_name(self, api, alice, licence, name):
        card = f"---\nlicense: {licence}\n---\n".encode()
        push(alice, "alice/m", {"README.md": card}, kind="model")
        long = "Creative Commons Attribution Non Commercial Share Alike 4.0 International"
        assert get(api, alice, "")["license_name"] == (long if name is None else name)


@pytest.fixture
def large(alice) -> Repo:
    """A model of 500 files and 20 commits."""
    files = {f"part-{n % 10}/{n:04}.txt": b"%d" % n for n in range(497)}
    repo = push(alice, "alice/m", MODEL_FILES | files, kind="model").repo
    for n in range(19):
        push(alice, "alice/m", {f"part-{n % 10}/{n:04}.txt": b"new %d" % n}, kind="model")
    return Repo.objects.get(pk=repo.pk)


def test_a_large_repo_s_pages_ask_the_database_a_few_questions(
    api, alice, large, django_assert_max_num_queries, monkeypatch
):
    client = api(alice)
    client.get(PAGE)  # reads the headers, once
    sha = large.head.sha
    opened: list[str] = []
    for module in ("studio.hub.weights", "studio.hub.model_facts", "studio.hub.browse.history"):
        monkeypatch.setattr(f"{module}.open_blob", lambda blob: opened.append(blob.sha256))
    for path, most in (
        ("", 11),
        ("folder/", 9),
        ("folder/?folder=part-3", 9),
        ("history/", 7),
        (f"history/{sha}/", 8),
        ("losses/", 9),
    ):
        with django_assert_max_num_queries(most):
            answer = client.get(PAGE + path)
        assert answer.status_code == 200, path
    assert opened == []
    entries = get(api, alice, "folder/", folder="part-3")["results"]
    assert {entry["last"]["title"] for entry in entries} == {"Push"}
