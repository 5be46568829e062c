"""Commits, imports and sweeps, below the API."""

from datetime import timedelta
from functools import partial
from io import BytesIO, StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from studio.core.errors import BadInput, Conflict, Forbidden, NotFound
from studio.hub.cards import read_card
from studio.hub.downloads import RangeNotThere, Span, read_range
from studio.hub.errors import FileNotThere, RevisionNotThere
from studio.hub.model_facts import count_params, read_shape
from studio.hub.models import Blob, BlobReport, Commit, Repo
from studio.hub.names import check_path
from studio.hub.planning import tell_planner
from studio.hub.reports import check_file, iter_rows
from studio.hub.selectors import (
    get_commit,
    get_data_facts,
    get_model_shape,
    resolve_revision,
)
from studio.hub.services import Changes, Words, commit_files, delete_repo, update_repo
from studio.hub.storage import get_store
from studio.hub.sweeping import sweep_hub
from tests.studio.hub.made import make_row, push, store
from tests.studio.hub.weights import ADAPTER_FILES, MODEL_FILES, make_safetensors, write_folder


@pytest.mark.parametrize(
    "path",
    ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", "a\\b", "a\0b", "a\nb", ".git/config"]
    + ["x" * 256, "\u706b" * 86, "a/" * 513 + "a"],
)
def test_a_path_that_could_lead_astray_is_refused(path):
    with pytest.raises(BadInput, match=r"^path: .*cannot be a file's path"):
        check_path(path)


@pytest.mark.parametrize(
    "path", ["a", "a/b.txt", ".gitattributes", "\u7089/\u706b.md", "a..b", "x" * 255]
)
def test_a_plain_path_is_taken(path):
    assert check_path(path) == path


@given(st.text(max_size=300))
def test_whatever_path_is_taken_stays_inside(path):
    try:
        check_path(path)
    except BadInput as error:
        assert error.field == "path" and "\n" not in error.message
        return
    parts = path.split("/")
    assert not path.startswith("/") and "\0" not in path and "\\" not in path
    assert all(part not in {"", ".", ".."} and len(part.encode()) <= 255 for part in parts)


@given(st.text())
def test_any_card_can_be_read(text):
    card = read_card(text)
    assert isinstance(card.metadata, dict)


def test_yaml_that_grows_without_bound_is_left_out():
    bomb = "---\na: &a [x, x]\nb: [*a, *a]\n---\nbody\n"
    card = read_card(bomb)
    assert card.metadata == {} and card.text == "body\n" and "aliases" in card.problem


@given(st.lists(st.binary(max_size=40)), st.sampled_from([b"\n", b"\r\n"]))
def test_rows_are_cut_as_the_contract_cuts_them(lines, end):
    from engine.specs.messages import iter_lines
    from engine.specs.report import check_lines

    content = end.join(lines)
    assert [line for _, _, line in iter_rows(BytesIO(content))] == list(iter_lines([content]))
    assert check_file(BytesIO(content))[0] == check_lines(iter_lines([content]))
    for offset, number, line in iter_rows(BytesIO(content)):
        again = BytesIO(content)
        again.seek(offset)
        assert next(iter_rows(again, line=number)) == (offset, number, line)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=4-", Span(4, 6)),
        ("bytes=-3", Span(7, 3)),
        ("bytes=-99", Span(0, 10)),
        ("bytes=2-99", Span(2, 8)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("bytes=0-1,3-4", None),
        ("lines=1-2", None),
    ],
)
def test_ranges_are_read_as_the_rfc_says(header, span):
    assert read_range(header, 10) == span


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=10-12", "bytes=-0"])
def test_a_range_behind_the_end_is_refused(header):
    with pytest.raises(RangeNotThere):
        read_range(header, 10)


def test_params_are_counted_from_the_header_alone():
    content = make_safetensors({"a": [3, 4], "b": [5], "c": []})
    header_end = content.index(b"}}") + 40
    assert count_params(BytesIO(content[:header_end])) == 12 + 5 + 1


@pytest.mark.parametrize(
    "header",
    [
        '{"a": {"shape": [1' + "0" * 400 + "]}}",
        '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"a": {"shape": [0]}}',
    ],
)
@pytest.mark.django_db
def test_a_header_of_no_possible_weights_makes_no_model(alice, header):
    weights = len(header).to_bytes(8, "little") + header.encode()
    files = {**MODEL_FILES, "model.safetensors": weights}
    commit = push(alice, "alice/odd", files, kind="model")
    with pytest.raises(BadInput, match="alice/odd cannot be used"):
        read_shape(commit)


@pytest.mark.django_db
def test_a_repo_that_went_meanwhile_is_not_found(alice):
    commit = push(alice, "alice/odd", {"a.txt": b"a"})
    gone = Repo.objects.get(pk=commit.repo_id)
    delete_repo(by=alice, repo=commit.repo)
    for work in (delete_repo, partial(update_repo, summary="x")):
        with pytest.raises(NotFound):
            work(by=alice, repo=gone)


@pytest.mark.parametrize(
    "content", [b"", b"\x01", b"\xff" * 8, b"\x02" + bytes(7) + b"[]", b"\x03" + bytes(7) + b"{{{"]
)
def test_what_is_no_safetensors_file_is_told_as_such(content):
    with pytest.raises(ValueError):
        count_params(BytesIO(content))


@pytest.mark.django_db
class TestRepos:
    def test_a_model_without_weights_is_no_base(self, alice):
        commit = push(alice, "alice/x", {"config.json": b"{}"}, kind="model")
        with pytest.raises(BadInput, match=r"spec\.model: alice/x has no \.safetensors file"):
            get_model_shape(commit)

    def test_a_config_that_lacks_a_size_names_it(self, alice):
        commit = push(alice, "alice/x", MODEL_FILES | {"config.json": b"{}"}, kind="model")
        with pytest.raises(BadInput, match="has no hidden_size"):
            get_model_shape(commit)

    def test_facts_count_good_rows_only(self, alice):
        commit = push(alice, "alice/t", {"data/train.jsonl": f"{make_row()}\n{{\n".encode()})
        assert get_data_facts(commit).num_samples == 1

    def test_a_report_is_made_once_per_content(self, alice):
        content = f"{make_row()}\n".encode()
        push(alice, "alice/a", {"train.jsonl": content})
        push(alice, "alice/b", {"train.jsonl": content})
        assert BlobReport.objects.count() == 1

    def test_revisions_are_found_by_name_and_beginning(self, alice, bob):
        commit = push(alice, "alice/t", {"a.txt": b"a"})
        for revision in ("main", commit.sha, commit.sha[:7], "refs/heads/main"):
            assert get_commit(commit.repo, revision) == commit
        for revision in (commit.sha[:6], "v1", "f" * 40):
            with pytest.raises(RevisionNotThere):
                get_commit(commit.repo, revision)
        with pytest.raises(NotFound):
            resolve_revision(bob, "alice/t", kind="dataset")

    def test_a_file_cannot_lie_in_a_file(self, alice):
        push(alice, "alice/t", {"a": b"1"})
        with pytest.raises(BadInput, match="would lie in a, which is a file"):
            push(alice, "alice/t", {"a/b": b"2"})

    def test_nothing_changed_is_no_commit(self, alice):
        first = push(alice, "alice/t", {"a": b"1"})
        assert push(alice, "alice/t", {"a": b"1"}) == first

    def test_a_head_that_moved_refuses_its_old_parent(self, alice):
        first = push(alice, "alice/t", {"a": b"1"})
        second = push(alice, "alice/t", {"a": b"2"})
        words = Words("x", parent_sha=first.sha)
        with pytest.raises(Conflict) as refusal:
            commit_files(
                by=alice, repo=second.repo, changes=Changes({"a": store(b"3")}), words=words
            )
        assert refusal.value.status == 412

    def test_deleting_what_is_not_there_changes_nothing(self, alice):
        commit = push(alice, "alice/t", {"a": b"1"})
        for changes in (Changes(deleted_files={"b"}), Changes(deleted_folders={"c"})):
            with pytest.raises(FileNotThere):
                commit_files(by=alice, repo=commit.repo, changes=changes, words=Words("x"))
        assert Commit.objects.count() == 1

    def test_an_administrator_mends_public_repos_and_sees_no_private_ones(self, alice, adam):
        public = push(alice, "alice/p", {"a": b"1"}, visibility="public")
        private = push(alice, "alice/q", {"a": b"1"})
        change = Changes({"a": store(b"2")})
        commit_files(by=adam, repo=public.repo, changes=change, words=Words("x"))
        with pytest.raises(NotFound):
            commit_files(by=adam, repo=private.repo, changes=change, words=Words("x"))

    def test_a_stranger_writes_nothing(self, alice, carol):
        public = push(alice, "alice/p", {"a": b"1"}, visibility="public")
        with pytest.raises(Forbidden):
            commit_files(
                by=carol, repo=public.repo, changes=Changes({"a": store(b"2")}), words=Words("x")
            )

    def test_text_that_no_database_keeps_is_cleaned_from_cards(self, alice):
        card = '---\nlicense: "a\\0b"\ntags: ["\\ud800x"]\n---\nHi\0 there.\n'
        push(alice, "alice/t", {"README.md": card.encode()})
        repo = Repo.objects.get()
        assert (repo.license, repo.tags, repo.card_summary) == ("ab", ["x"], "Hi there.")

    def test_an_adapter_says_its_base_in_any_of_three_ways(self, alice):
        card = b"---\nbase_model: a/card\nbase_model_revision: abc\n---\n"
        only_config = {"adapter_config.json": ADAPTER_FILES["adapter_config.json"]}
        for files, told in (
            (ADAPTER_FILES | {"README.md": card}, ("athanor/tiny", "main")),
            (only_config | {"README.md": card}, ("a/card", "abc")),
            (only_config, ("athanor/tiny", "")),
            ({"adapter_config.json": b'{"base_model_name_or_path": "/tmp/x"}'}, ("", "")),
            ({"adapter_config.json": b"[1"}, ("", "")),
        ):
            Repo.objects.all().update(head=None)
            Repo.objects.all().delete()
            repo = push(alice, "alice/x", files, kind="model").repo
            repo.refresh_from_db()
            assert (repo.role, repo.base_model, repo.base_revision) == ("adapter", *told)


@pytest.mark.django_db
class TestSweep:
    def test_only_what_is_unnamed_and_old_goes(self, alice):
        named = push(alice, "alice/t", {"a": b"named"}).files.get().blob
        fresh, old = store(b"fresh"), store(b"old")
        long_ago = timezone.now() - timedelta(days=2)
        Blob.objects.filter(pk__in=[named.pk, old.pk]).update(stored_at=long_ago)
        assert sweep_hub() == 1
        assert set(Blob.objects.all()) == {named, fresh}
        with pytest.raises(FileNotFoundError):
            get_store().open(old.sha256)
        with get_store().open(named.sha256) as file:
            assert file.read() == b"named"

    def test_bytes_stored_again_are_spared(self, db):
        blob = store(b"again")
        Blob.objects.update(stored_at=timezone.now() - timedelta(days=2))
        store(b"again")
        assert sweep_hub() == 0
        with get_store().open(blob.sha256) as file:
            assert file.read() == b"again"


@pytest.mark.django_db
class TestImport:
    def test_a_folder_becomes_a_public_repo_of_the_platform_once(self, tmp_path):
        folder = write_folder(tmp_path / "tiny", MODEL_FILES | {".cache/x": b"no"})
        out = StringIO()
        for _ in range(2):
            call_command("hub_import", str(folder), "athanor/tiny", kind="model", stdout=out)
        first, second = out.getvalue().split()
        assert first == second
        repo = Repo.objects.get()
        assert (repo.visibility, repo.owner.username, repo.role) == ("public", "athanor", "base")
        assert {file.path for file in repo.head.files.all()} == set(MODEL_FILES)

    def test_a_changed_folder_is_a_new_head_and_if_missing_leaves_the_old(self, tmp_path):
        folder = write_folder(tmp_path / "tiny", {"a": b"1", "b": b"2"})
        call_command("hub_import", str(folder), "athanor/t", kind="dataset", stdout=StringIO())
        (folder / "a").unlink()
        options = {"kind": "dataset", "stdout": StringIO()}
        call_command("hub_import", str(folder), "athanor/t", if_missing=True, **options)
        assert Commit.objects.count() == 1
        call_command("hub_import", str(folder), "athanor/t", **options)
        assert [file.path for file in Repo.objects.get().head.files.all()] == ["b"]

    @pytest.mark.parametrize("repo", ["tiny", "alice/tiny"])
    def test_it_imports_into_the_platforms_namespace_only(self, tmp_path, repo, db):
        folder = write_folder(tmp_path / "tiny", {"a": b"1"})
        with pytest.raises(CommandError):
            call_command("hub_import", str(folder), repo, kind="model")

    def test_a_folder_that_is_none_gets_one_sentence(self, tmp_path):
        with pytest.raises(CommandError, match="is no folder"):
            call_command("hub_import", str(tmp_path / "no"), "athanor/t", kind="model")


@pytest.mark.django_db
def test_the_planner_hears_of_a_large_push(
    alice, django_capture_on_commit_callbacks, django_assert_num_queries
):
    if connection.vendor != "postgresql":  # SQLite's has nothing to be told
        with django_assert_num_queries(0):
            tell_planner(10**6)
        return

    def believe() -> float:
        with connection.cursor() as cursor:
            cursor.execute("SELECT reltuples FROM pg_class WHERE relname = 'hub_commitfile'")
            return float(cursor.fetchone()[0])

    push(alice, "alice/small", {"a": b"1"})
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE hub_commitfile")
    assert believe() < 100
    with django_capture_on_commit_callbacks(execute=True):
        push(alice, "alice/large", {f"{n}.txt": b"%d" % (n % 7) for n in range(1000)})
    assert believe() >= 1000
