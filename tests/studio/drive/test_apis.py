"""The drive at the API: listings, changes, trash, edits, downloads, shares; what is refused."""

import io
import os
import socket
import zipfile

import pytest

from studio.accounts.models import PersonalToken
from studio.accounts.secret_hash import hash_secret
from studio.drive.models import Share, TrashEntry
from tests.studio.drive.conftest import body_of

pytestmark = pytest.mark.django_db
D = "/api/drive/"
# (method, address, body) of every door that a stranger might try with a path of alice's.
DOORS = [
    ("get", "list/?path=work", None),
    ("get", "tree/?path=work", None),
    ("get", "file/?path=work/a.txt", None),
    ("get", "archive/?path=work", None),
    ("get", "preview/?path=work/a.txt", None),
    ("post", "rename/", {"path": "work", "name": "mine"}),
    ("post", "move/", {"paths": ["work"], "target": ""}),
    ("post", "trash/", {"paths": ["work"]}),
    ("post", "shares/", {"path": "work"}),
    ("post", "works/", {"kind": "zip", "paths": ["work"]}),
]


def names(client, query="") -> list[str]:
    answer = client.get(f"{D}list/?{query}")
    assert answer.status_code == 200, answer.content
    return [row["name"] for row in answer.json()["results"]]


@pytest.mark.parametrize(("method", "url", "body"), DOORS)
def test_a_stranger_sees_a_drive_of_their_own_only(api, carol, made, method, url, body):
    made("work/a.txt")
    answer = getattr(api(carol), method)(D + url, body, format="json")
    assert answer.status_code == 404, answer.content


@pytest.mark.parametrize(("method", "url", "body"), DOORS)
def test_nobody_gets_in_without_signing_in_nor_a_run_with_its_token(api, db, method, url, body):
    client = api()
    assert getattr(client, method)(D + url, body, format="json").status_code == 401
    client.credentials(HTTP_AUTHORIZATION="Bearer run_" + "x" * 40)
    assert getattr(client, method)(D + url, body, format="json").status_code == 401


def test_a_token_that_may_read_may_not_write(api, alice, made):
    made("a.txt")
    PersonalToken.objects.create(
        user=alice, name="t", prefix="ath_x", token_hash=hash_secret("ath_x"), scopes=["read"]
    )
    client = api()
    client.credentials(HTTP_AUTHORIZATION="Bearer ath_x")
    assert names(client) == ["a.txt"]
    assert client.post(f"{D}trash/", {"paths": ["a.txt"]}, format="json").status_code == 403


def test_a_listing_is_paged_sorted_and_looks_at_its_own_page_only(
    api, alice, made, django_assert_max_num_queries
):
    for number in (10, 2, 1):
        made(f"run {number}", b"x" * number)
    made("folder/in", b"")
    assert names(api(alice)) == ["folder", "run 1", "run 2", "run 10"]
    assert names(api(alice), "sort=-size") == ["folder", "run 10", "run 2", "run 1"]
    client = api(alice)
    client.get(f"{D}list/")
    with django_assert_max_num_queries(3):
        assert names(client, "page=2&page_size=3") == ["run 10"]


def test_names_of_every_kind_come_and_go(api, alice, home):
    long = "\u6587" * 85  # 255 bytes
    wild = ["\u4f60\u597d \U0001f600.txt", " spaces  ", "..hidden", "a\\b", "%2e%2e%2f", long]
    for name in wild:
        answer = api(alice).post(f"{D}folders/", {"path": name}, format="json")
        assert answer.status_code == 201, answer.content
    assert set(names(api(alice))) == set(wild) == set(os.listdir(home))


def test_a_name_that_is_not_utf8_is_shown_and_can_be_mended(api, alice, home):
    with open(os.fsencode(home) + b"/caf\xe9", "wb") as file:
        file.write(b"x")
    (name,) = names(api(alice))
    answer = api(alice).post(f"{D}rename/", {"path": name, "name": "caf\u00e9"}, format="json")
    assert answer.status_code == 200
    assert os.listdir(home) == ["caf\u00e9"]


def test_names_that_differ_by_case_alone_are_marked(api, alice, made):
    for name in ("Data", "data", "other"):
        made(name)
    rows = api(alice).get(f"{D}list/").json()["results"]
    assert {row["name"]: row["is_clashing"] for row in rows} == {
        "Data": True,
        "data": True,
        "other": False,
    }


@pytest.mark.parametrize(
    "path",
    ["..", "../x", "a/../..", "/etc/passwd", "a//b", "./a", "a/.", "x" * 256, "a/" * 101 + "b"],
)
def test_a_path_that_leads_out_is_refused_in_one_sentence(api, alice, made, path):
    made("a/b")
    for method, url, body in [
        ("get", f"list/?path={path}", None),
        ("get", f"file/?path={path}", None),
        ("post", "folders/", {"path": path}),
        ("post", "trash/", {"paths": [path]}),
        ("post", "shares/", {"path": path}),
    ]:
        answer = getattr(api(alice), method)(D + url, body, format="json")
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_path"), (url, body)


def test_links_are_shown_and_never_followed(api, alice, home, made, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (home / "way").symlink_to(tmp_path / "outside")
    (home / "file").symlink_to("/etc/passwd")
    rows = api(alice).get(f"{D}list/").json()["results"]
    assert {row["kind"] for row in rows} == {"link"}
    client = api(alice)
    for url in ("file/?path=file", "file/?path=way/secret", "list/?path=way", "preview/?path=file"):
        answer = client.get(D + url)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_path"), url
    put = {"path": "way/new", "text": "x"}
    assert client.put(f"{D}text/", put, format="json", HTTP_IF_NONE_MATCH="*").status_code == 400
    answer = client.get(f"{D}archive/?path=way")
    assert zipfile.ZipFile(io.BytesIO(body_of(answer))).namelist() == []
    assert client.post(f"{D}trash/", {"paths": ["way", "file"]}, format="json").status_code == 200
    client.delete(f"{D}trash/")
    assert (tmp_path / "outside" / "secret").exists()


def test_pipes_sockets_and_devices_are_never_opened(api, alice, home, monkeypatch):
    os.mkfifo(home / "pipe")
    monkeypatch.chdir(home)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        client = api(alice)
        rows = client.get(f"{D}list/").json()["results"]
        assert {row["kind"] for row in rows} == {"special"}
        for name in ("pipe", "socket"):
            assert client.get(f"{D}file/?path={name}").json()["code"] == "bad_path"
            assert client.get(f"{D}preview/?path={name}").json()["code"] == "bad_path"
            assert client.post(f"{D}shares/", {"path": name}, format="json").status_code == 400


def test_things_are_renamed_and_moved_and_nothing_is_overwritten(api, alice, home, made):
    made("a.txt", b"a")
    made("b.txt", b"b")
    made("in/a.txt", b"other")
    client = api(alice)
    taken = client.post(f"{D}rename/", {"path": "a.txt", "name": "b.txt"}, format="json")
    assert (taken.status_code, taken.json()["code"]) == (409, "name_taken")
    moved = client.post(f"{D}move/", {"paths": ["a.txt", "b.txt"], "target": "in"}, format="json")
    assert moved.json()["paths"] == ["in/a (2).txt", "in/b.txt"]
    assert (home / "in" / "a (2).txt").read_bytes() == b"a"
    into = client.post(f"{D}move/", {"paths": ["in"], "target": "in"}, format="json")
    assert (into.status_code, into.json()["field"]) == (400, "target")


def test_the_trash_gives_back_what_it_holds(api, alice, home, made):
    made("work/a.txt", b"one")
    client = api(alice)
    client.post(f"{D}trash/", {"paths": ["work/a.txt", "work"]}, format="json")
    assert names(client) == []
    rows = client.get(f"{D}trash/").json()["results"]
    assert {row["path"] for row in rows} == {"work", "work/a.txt"}
    made("work/a.txt", b"two")
    file = next(row for row in rows if not row["is_folder"])
    back = client.post(f"{D}trash/{file['id']}/restore/")
    assert back.json() == {"path": "work/a (2).txt"}
    assert (home / "work" / "a (2).txt").read_bytes() == b"one"
    assert client.delete(f"{D}trash/").json() == {"num_deleted": 1}
    assert not TrashEntry.objects.exists()
    assert os.listdir(home.parent / "trash") == []


def test_anothers_trash_is_not_there(api, alice, carol, made):
    made("a.txt")
    entry = api(alice).post(f"{D}trash/", {"paths": ["a.txt"]}, format="json").json()["entries"][0]
    assert api(carol).post(f"{D}trash/{entry['id']}/restore/").status_code == 404
    assert api(carol).delete(f"{D}trash/{entry['id']}/").status_code == 404
    assert api(carol).get(f"{D}trash/").json()["count"] == 0


def test_a_text_that_somebody_else_wrote_meanwhile_is_not_overwritten(api, alice, home, made):
    made("a.txt", b"one")
    client = api(alice)
    seen = client.get(f"{D}preview/?path=a.txt").json()
    assert (seen["kind"], seen["text"]) == ("text", "one")
    mine = {"path": "a.txt", "text": "mine"}
    first = client.put(f"{D}text/", mine, format="json", HTTP_IF_MATCH=seen["etag"])
    assert first.status_code == 200
    again = client.put(f"{D}text/", mine, format="json", HTTP_IF_MATCH=seen["etag"])
    assert (again.status_code, again.json()["code"]) == (412, "file_changed")
    assert client.put(f"{D}text/", mine, format="json").json()["code"] == "etag_missing"
    new = client.put(f"{D}text/", mine, format="json", HTTP_IF_NONE_MATCH="*")
    assert (new.status_code, new.json()["code"]) == (409, "name_taken")
    assert (home / "a.txt").read_text() == "mine"
    assert os.listdir(home.parent / "drafts") == []


def test_a_search_finds_names_by_words_below_a_folder(api, alice, made):
    for path in ("a/Report final.md", "b/final report.txt", "c/other"):
        made(path)
    found = api(alice).get(f"{D}search/?q=REPORT+final").json()
    assert [row["path"] for row in found["results"]] == ["a/Report final.md", "b/final report.txt"]
    assert found["is_complete"] is True
    assert api(alice).get(f"{D}search/?q=report&path=c").json()["results"] == []


def test_a_file_comes_whole_in_part_or_not_again(api, alice, made):
    made("\u6587 a.bin", b"0123456789")
    client = api(alice)
    url = f"{D}file/?path=\u6587 a.bin"
    whole = client.get(url)
    assert body_of(whole) == b"0123456789"
    assert whole["Content-Disposition"] == "attachment; filename*=UTF-8''%E6%96%87%20a.bin"
    assert "sandbox" in whole["Content-Security-Policy"]
    part = client.get(url, HTTP_RANGE="bytes=2-4")
    assert (part.status_code, body_of(part)) == (206, b"234")
    assert client.get(url, HTTP_IF_NONE_MATCH=whole["ETag"]).status_code == 304
    assert client.get(url, HTTP_RANGE="bytes=99-").status_code == 416


def test_several_things_come_as_one_zip(api, alice, made):
    made("a.txt", b"a")
    made("folder/in/b.txt", b"b" * 3_000_000)
    made("folder/empty/.keep", b"")
    answer = api(alice).get(f"{D}archive/?path=a.txt&path=folder")
    archive = zipfile.ZipFile(io.BytesIO(body_of(answer)))
    assert archive.testzip() is None
    assert archive.read("folder/in/b.txt") == b"b" * 3_000_000
    assert "folder/empty/" in archive.namelist()


def test_a_link_opens_for_anybody_until_it_ends(api, alice, carol, made):
    made("out/a.txt", b"hello")
    client = api(alice)
    share = client.post(f"{D}shares/", {"path": "out/a.txt", "days": 3}, format="json").json()
    token = share["url"].rpartition("/")[2]
    said = api().get(f"{D}shared/{token}/").json()
    assert (said["name"], said["is_folder"], said["size_bytes"]) == ("a.txt", False, 5)
    assert body_of(api().get(f"{D}shared/{token}/file/")) == b"hello"
    assert Share.objects.get().num_fetched == 1
    assert token not in str(client.get(f"{D}shares/").json())
    assert api(carol).delete(f"{D}shares/{share['id']}/").status_code == 404
    assert client.delete(f"{D}shares/{share['id']}/").status_code == 204
    assert api().get(f"{D}shared/{token}/file/").status_code == 404


def test_a_link_that_has_ended_opens_nothing(api, alice, made):
    made("a.txt")
    share = api(alice).post(f"{D}shares/", {"path": "a.txt"}, format="json").json()
    Share.objects.update(expires_at=Share.objects.get().created_at)
    token = share["url"].rpartition("/")[2]
    assert api().get(f"{D}shared/{token}/").status_code == 404


def test_an_operator_sets_a_quota_and_others_do_not_see_that_door(api, alice, olga, made):
    made("a.bin", b"x" * 5000)
    url = f"{D}quotas/alice/"
    assert api(alice).put(url, {"quota_bytes": 1}, format="json").status_code == 404
    said = api(olga).put(url, {"quota_bytes": 4096}, format="json").json()
    assert (said["quota_bytes"], said["own_quota_bytes"]) == (4096, 4096)
    assert said["used_bytes"] >= 5000  # what is over the quota stays
    body = {"path": "b.txt", "text": "more"}
    full = api(alice).put(f"{D}text/", body, format="json", HTTP_IF_NONE_MATCH="*")
    assert (full.status_code, full.json()["code"]) == (413, "drive_full")
    assert api(alice).get(D).json()["quota_bytes"] == 4096
    health = api(olga).get(f"{D}health/").json()
    assert (health["backend"], health["is_enforced"]) == ("none", False)
    assert api(alice).get(f"{D}health/").status_code == 404
