"""Imports from beginning to end: fetched, resumed, cancelled, taken up again, stored."""

import shutil
import threading
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.utils import timezone

from studio.accounts.models import Membership, Organization, OrganizationMember
from studio.core.errors import Conflict
from studio.hub.content import open_blob
from studio.hub.models import Kind, Repo
from studio.importing import gathering, progress, running, services, tasks
from studio.importing.folders import folder_of, list_folders
from studio.importing.models import Import
from studio.importing.sealing import seal, unseal
from tests.studio.hub.made import push
from tests.studio.importing.conftest import BIG, FILES, MIB

pytestmark = pytest.mark.django_db


def read_all(repo: Repo) -> dict[str, bytes]:
    return {file.path: open_blob(file.blob).read() for file in repo.head.files.all()}


def test_another_hubs_repo_becomes_a_private_one(ask, elsewhere):
    item = ask(f"{elsewhere.source}@v1")
    assert (item["state"], item["revision"], item["problem"]) == ("done", "v1", None)
    assert item["bytes_done"] == item["bytes_total"] == sum(map(len, FILES.values()))
    assert item["files_done"] == item["files_total"] == 3
    repo = Repo.objects.get()
    assert (repo.repo_id, repo.visibility, repo.license) == ("alice/r", "private", "mit")
    assert read_all(repo) == FILES and repo.head.sha == item["commit_sha"]
    assert list_folders() == {}


def test_an_import_into_a_repo_that_is_there_is_a_new_commit(ask, alice, elsewhere):
    push(alice, "alice/R", {"old.txt": b"old"}, kind="model", visibility="public")
    assert ask(elsewhere.source, visibility="class")["name"] == "R"
    repo = Repo.objects.get()
    assert read_all(repo) == FILES and repo.visibility == "public"
    assert repo.head.parent.files.get().path == "old.txt"


def test_a_connection_that_breaks_is_taken_up_where_it_broke(ask, elsewhere):
    elsewhere.breaks = [MIB, MIB // 2]
    item = ask(elsewhere.source)
    assert item["state"] == "done" and read_all(Repo.objects.get()) == FILES
    ranges = [headers["Range"] for _, headers in elsewhere.asked if "Range" in headers]
    assert ranges == [f"bytes={MIB}-", f"bytes={MIB + MIB // 2}-"]


def test_a_failed_import_goes_on_with_the_bytes_it_has(ask, api, alice, elsewhere):
    elsewhere.breaks = [2 * MIB, 0, 0, 0, 0, 0]
    item = ask(elsewhere.source, token="hf_secret")
    assert item["problem"]["code"] == "source_fault" and not Repo.objects.exists()
    kept = Import.objects.get()
    assert (kept.sealed_token, kept.slot) == ("", None)
    assert (folder_of(kept.pk) / "sub" / "m.bin").read_bytes() == BIG[: 2 * MIB]
    elsewhere.breaks, elsewhere.asked = [], []
    again = api(alice).post(f"/api/imports/{kept.pk}/retry/", {"token": "t2"}, format="json")
    assert (again.json()["state"], again.json()["problem"]) == ("waiting", None)
    assert running.run_import(str(kept.pk))
    assert Import.objects.get().state == "done" and read_all(Repo.objects.get()) == FILES
    big = [headers for path, headers in elsewhere.asked if path.endswith("m.bin")]
    assert [headers["Range"] for headers in big] == [f"bytes={2 * MIB}-"]
    assert big[0]["Authorization"] == "Bearer t2"


def test_bytes_that_changed_meanwhile_are_fetched_anew(ask, api, alice, elsewhere):
    elsewhere.breaks = [2 * MIB, 0, 0, 0, 0, 0]
    item = ask(elsewhere.source)
    elsewhere.breaks = []
    elsewhere.files["sub/m.bin"] = other = BIG[::-1]
    api(alice).post(f"/api/imports/{item['id']}/retry/", {}, format="json")
    assert running.run_import(item["id"])
    assert read_all(Repo.objects.get())["sub/m.bin"] == other


def test_more_bytes_than_listed_never_fill_the_disk(ask, elsewhere):
    entries = elsewhere.list_entries()
    elsewhere.listing = [entry | {"size": min(entry["size"], 10)} for entry in entries]
    item = ask(elsewhere.source)
    assert "other bytes than the source lists" in item["problem"]["message"]
    assert not Repo.objects.exists()


@pytest.mark.parametrize(
    "listing",
    [
        {"error": "no"},
        "text",
        [{"type": "file"}],
        [{"type": "file", "path": "a", "size": "many"}],
        [{"type": "file", "path": "a", "size": -5}],
        [{"type": "file", "path": "../../etc/passwd", "size": 5}],
        [{"type": "file", "path": "/etc/passwd", "size": 5}],
        [{"type": "file", "path": ".git/config", "size": 5}],
        [{"type": "file", "path": ".gitattributes", "size": 5}],
        [{"type": "file", "path": "a\nb", "size": 5}],
        [],
        [None],
        [{"type": "file", "path": 5, "size": 5}],
    ],
)
def test_a_listing_that_means_harm_is_one_sentence(ask, elsewhere, listing):
    elsewhere.listing = listing
    item = ask(elsewhere.source)
    assert item["state"] == "failed" and item["problem"]["code"] != "internal_error"
    assert item["problem"]["message"].count(". ") == 0 and not Repo.objects.exists()


def test_too_many_files_and_too_many_bytes_are_refused_before_the_first(
    ask, api, alice, elsewhere, monkeypatch
):
    monkeypatch.setattr(gathering, "MOST_FILES", 2)
    assert ask(elsewhere.source)["problem"]["code"] == "too_many_files"
    monkeypatch.setattr(gathering, "MOST_FILES", 3)
    usage = namedtuple("usage", "total used free")(2**60, 0, 2**30)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    elsewhere.listing = [
        {"type": "file", "path": "a", "size": 2**40, "oid": "", "lfs": {"oid": "0" * 64}}
    ]
    assert ask(elsewhere.source, name="s")["problem"]["code"] == "disk_full"
    assert not [path for path, _ in elsewhere.asked if "resolve" in path]


def test_a_cancelled_import_ends_within_a_file_and_leaves_nothing(
    ask, api, alice, elsewhere, monkeypatch
):
    monkeypatch.setattr(progress, "SAID_EVERY_S", 0.0)
    waiting = ask(elsewhere.source, run=False)
    said = progress.Progress.advance

    def cancel_soon(self, path, num_bytes):
        if self._bytes > MIB:
            answer = api(alice).post(f"/api/imports/{waiting['id']}/cancel/")
            assert answer.json()["is_cancel_wished"]
        said(self, path, num_bytes)

    monkeypatch.setattr(progress.Progress, "advance", cancel_soon)
    assert running.run_import(waiting["id"])
    item = Import.objects.get()
    assert (item.state, item.slot) == ("cancelled", None)
    assert MIB < item.bytes_done < len(BIG)
    assert list_folders() == {} and not Repo.objects.exists()


def test_a_cancel_while_storing_leaves_no_repo(ask, api, alice, made, monkeypatch):
    monkeypatch.setattr(progress, "SAID_EVERY_S", 0.0)
    made("work/a.bin", BIG)
    waiting = ask("drive:///work", run=False)
    begun = progress.Progress.begin

    def cancel_then(self, state, **counts):
        begun(self, state, **counts)
        api(alice).post(f"/api/imports/{waiting['id']}/cancel/")

    monkeypatch.setattr(progress.Progress, "begin", cancel_then)
    running.run_import(waiting["id"])
    assert Import.objects.get().state == "cancelled" and not Repo.objects.exists()
    assert (made("work/b", b"b")).parent.joinpath("a.bin").read_bytes() == BIG


def test_a_waiting_import_is_cancelled_at_once(ask, api, alice, elsewhere):
    waiting = ask(elsewhere.source, run=False, token="hf_secret")
    answer = api(alice).post(f"/api/imports/{waiting['id']}/cancel/").json()
    assert answer["state"] == "cancelled" and Import.objects.get().sealed_token == ""
    assert running.run_import(waiting["id"]) is False
    done = api(alice).post(f"/api/imports/{waiting['id']}/retry/", {}, format="json")
    assert done.json()["state"] == "waiting"


def test_an_import_whose_worker_died_goes_on(ask, elsewhere, monkeypatch):
    waiting = ask(elsewhere.source, run=False)
    part = folder_of(waiting["id"]) / "sub" / "m.bin"
    part.parent.mkdir(parents=True)
    part.write_bytes(BIG[:MIB])
    dead = {"state": "fetching", "slot": 0, "attempt": 1}
    Import.objects.update(**dead, beat_at=timezone.now() - timedelta(seconds=50))
    sent = []
    monkeypatch.setattr(running, "send_import", lambda item: sent.append(str(item.pk)))
    assert running.tend_imports() == 0  # it may still live
    Import.objects.update(beat_at=timezone.now() - timedelta(seconds=70))
    assert running.tend_imports() == 1 and sent == [waiting["id"]]
    assert running.run_import(waiting["id"])
    assert Import.objects.get().state == "done"
    assert [headers["Range"] for _, headers in elsewhere.asked if "Range" in headers] == [
        f"bytes={MIB}-"
    ]


def test_a_runner_that_was_given_up_stops_and_touches_nothing(ask, elsewhere, monkeypatch):
    monkeypatch.setattr(progress, "SAID_EVERY_S", 0.0)
    waiting = ask(elsewhere.source, run=False)
    elsewhere.on_file = lambda path: None
    begun = progress.Progress.begin

    def die_then(self, state, **counts):
        Import.objects.update(beat_at=timezone.now() - timedelta(seconds=70))
        running.tend_imports()
        begun(self, state, **counts)

    monkeypatch.setattr(progress.Progress, "begin", die_then)
    assert running.run_import(waiting["id"])
    assert Import.objects.get().state == "waiting"
    monkeypatch.setattr(progress.Progress, "begin", begun)
    assert running.run_import(waiting["id"]) and Import.objects.get().state == "done"


def test_an_import_that_kills_its_worker_is_not_tried_for_ever(ask, elsewhere):
    ask(elsewhere.source, run=False)
    for _ in range(6):
        Import.objects.update(
            state="fetching", slot=0, beat_at=timezone.now() - timedelta(seconds=70)
        )
        running.tend_imports()
    assert Import.objects.get().problem["code"] == "internal_error"


def test_a_dead_import_that_was_to_end_ends(ask, api, alice, elsewhere):
    waiting = ask(elsewhere.source, run=False)
    Import.objects.update(state="storing", slot=1, beat_at=timezone.now() - timedelta(seconds=70))
    api(alice).post(f"/api/imports/{waiting['id']}/cancel/")
    running.tend_imports()
    assert Import.objects.get().state == "cancelled"


def test_two_imports_into_one_repo_do_not_run_at_once(ask, api, alice, elsewhere):
    first = ask(elsewhere.source, run=False)
    assert ask(elsewhere.source, run=False, name="R")["code"] == "import_runs"
    assert ask(elsewhere.source, run=False, kind="dataset")["state"] == "waiting"
    api(alice).post(f"/api/imports/{first['id']}/cancel/")
    assert ask(elsewhere.source, run=False)["state"] == "waiting"
    refused = api(alice).post(f"/api/imports/{first['id']}/retry/", {}, format="json")
    assert (refused.status_code, refused.json()["code"]) == (409, "import_runs")


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_of_two_begun_at_the_very_same_time_one_is_told_of_the_other(alice, elsewhere, monkeypatch):
    monkeypatch.setattr(services, "send_import", lambda item: None)
    wish = services.Wish(elsewhere.source, "model", "alice", "r")
    line = threading.Barrier(4)

    def begin(_: int) -> str:
        try:
            line.wait()
            services.begin_import(by=alice, wish=wish)
        except Conflict as error:
            return error.code
        finally:
            connection.close()
        return "begun"

    with ThreadPoolExecutor(4) as pool:
        said = sorted(pool.map(begin, range(4)))
    assert said == ["begun", "import_runs", "import_runs", "import_runs"]
    assert Import.objects.count() == 1


def test_one_persons_imports_do_not_take_all_places(ask, bob, elsewhere, monkeypatch):
    mine = [ask(elsewhere.source, run=False, name=f"r{n}")["id"] for n in range(3)]
    his = ask(elsewhere.source, run=False, by=bob)["id"]
    Import.objects.filter(pk=mine[0]).update(state="fetching", slot=0, beat_at=timezone.now())
    assert running.run_import(mine[1]) is False
    sent = []
    monkeypatch.setattr(running, "send_import", lambda item: sent.append(str(item.pk)))
    running.tend_imports()
    assert sent == [his] and running.run_import(his)


def test_organizations_take_imports_of_those_who_write_there(ask, alice, bob, elsewhere):
    lab = Organization.objects.create(name="lab")
    OrganizationMember.objects.create(organization=lab, user=alice, role=Membership.CONTRIBUTOR)
    OrganizationMember.objects.create(organization=lab, user=bob, role=Membership.MEMBER)
    assert ask(elsewhere.source, by=bob, namespace="lab")["code"] == "not_owner"
    assert ask(elsewhere.source, by=bob, namespace="alice")["code"] == "not_owner"
    assert ask(elsewhere.source, namespace="LAB")["state"] == "done"
    assert Repo.objects.get().organization == lab


def test_who_lost_the_right_meanwhile_makes_no_repo(ask, alice, elsewhere):
    lab = Organization.objects.create(name="lab")
    member = OrganizationMember.objects.create(
        organization=lab, user=alice, role=Membership.CONTRIBUTOR
    )
    waiting = ask(elsewhere.source, run=False, namespace="lab")
    member.delete()
    running.run_import(waiting["id"])
    assert Import.objects.get().problem["code"] == "not_owner" and not Repo.objects.exists()


def test_a_folder_of_the_drive_becomes_a_dataset(ask, made, tmp_path):
    made("data/train.jsonl", b'{"messages": []}\n')
    made("data/.cache/x", b"x")
    (tmp_path / "secret").write_text("secret")
    made("data/link").unlink()
    (made("data/README.md", b"# D\n").parent / "link").symlink_to(tmp_path / "secret")
    item = ask("drive:///data", kind="dataset")
    assert item["state"] == "done", item
    repo = Repo.objects.get(kind=Kind.DATASET)
    assert set(read_all(repo)) == {"train.jsonl", "README.md"}
    assert "data" not in repo.head.message


def test_nobody_elses_drive_is_read(ask, alice, bob, made):
    made("data/train.jsonl", b"{}")
    assert ask("drive:///data", by=bob)["field"] == "source"
    for path in ("/../alice", "/data/../../1/home", "data", "/nowhere", "/data/train.jsonl"):
        assert ask(f"drive://{path}")["field"] == "source"


def test_a_sweep_keeps_what_may_go_on(ask, elsewhere, alice):
    elsewhere.breaks = [2 * MIB, 0, 0, 0, 0, 0]
    failed = ask(elsewhere.source)
    waiting = ask(elsewhere.source, run=False, name="w")
    for name in (waiting["id"], "00000000-0000-4000-8000-000000000000"):
        folder_of(name).mkdir(parents=True)
    assert running.sweep_folders() == 1
    assert {str(key) for key in list_folders()} == {failed["id"], waiting["id"]}
    Import.objects.filter(pk=failed["id"]).update(ended_at=timezone.now() - timedelta(days=8))
    assert running.sweep_folders() == 1
    assert [str(key) for key in list_folders()] == [waiting["id"]]


def test_a_token_is_sealed_and_only_this_studios_key_opens_it(ask, elsewhere, settings):
    ask(elsewhere.source, run=False, token="hf_secret")
    sealed = Import.objects.get().sealed_token
    assert "hf_secret" not in sealed and unseal(sealed) == "hf_secret"
    assert "hf_secret" not in repr(services.Wish("s", "model", "n", "r", token="hf_secret"))
    settings.SECRET_KEY = "another"
    assert unseal(sealed) == "" and seal("") == ""


def test_what_nobody_foresaw_ends_the_import(ask, elsewhere, monkeypatch):
    waiting = ask(elsewhere.source, run=False)
    monkeypatch.setattr(running, "gather", lambda *args: 1 / 0)
    assert tasks.run_import(waiting["id"])
    item = Import.objects.get()
    assert (item.state, item.problem["code"], item.slot) == ("failed", "internal_error", None)


def test_a_database_that_was_away_costs_no_import(ask, elsewhere, monkeypatch):
    waiting = ask(elsewhere.source, run=False)

    def lose_it(*args):
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(running, "gather", lose_it)
    with pytest.raises(OperationalError):
        tasks.run_import(waiting["id"])
    monkeypatch.undo()
    monkeypatch.setattr(running, "send_import", lambda item: None)
    Import.objects.update(beat_at=timezone.now() - timedelta(seconds=70))
    assert running.tend_imports() == 1 and Import.objects.get().state == "waiting"
