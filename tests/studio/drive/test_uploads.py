"""Uploads by tus: pieces, cuts, checksums, clashes, and hostile headers."""

import base64
import hashlib
import os

import pytest

from studio.drive import uploads
from studio.drive.models import Upload

pytestmark = pytest.mark.django_db
U = "/api/drive/uploads/"
TUS = {"HTTP_TUS_RESUMABLE": "1.0.0"}
PIECE = "application/offset+octet-stream"


def meta(**pairs: str) -> str:
    return ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in pairs.items())


def begin(client, size, **pairs):
    return client.post(U, HTTP_UPLOAD_LENGTH=str(size), HTTP_UPLOAD_METADATA=meta(**pairs), **TUS)


def send(client, url, offset, content, **headers):
    return client.generic(
        "PATCH", url, content, PIECE, HTTP_UPLOAD_OFFSET=str(offset), **TUS, **headers
    )


def test_a_file_comes_in_pieces_and_appears_when_it_is_whole(api, alice, home):
    client = api(alice)
    begun = begin(client, 10, filename="a.txt", folder="new/deep")
    assert begun.status_code == 201, begun.content
    url = begun["Location"].partition("testserver")[2] or begun["Location"]
    assert send(client, url, 0, b"01234").status_code == 204
    assert os.listdir(home) == []
    head = client.head(url, **TUS)
    assert (head["Upload-Offset"], head["Upload-Length"]) == ("5", "10")
    wrong = send(client, url, 3, b"34567")
    assert (wrong.status_code, wrong.json()["code"]) == (409, "wrong_offset")
    assert send(client, url, 5, b"56789")["Upload-Offset"] == "10"
    assert (home / "new" / "deep" / "a.txt").read_bytes() == b"0123456789"
    assert client.head(url, **TUS)["Upload-Offset"] == "10"
    assert send(client, url, 10, b"").status_code == 204
    assert os.listdir(home.parent / "drafts") == []


def test_the_first_piece_may_come_with_the_beginning(api, alice, home):
    answer = api(alice).generic(
        "POST", U, b"hello", PIECE, HTTP_UPLOAD_LENGTH="5",
        HTTP_UPLOAD_METADATA=meta(filename="a"), **TUS,
    )  # fmt: skip
    assert (answer.status_code, answer["Upload-Offset"]) == (201, "5")
    assert (home / "a").read_bytes() == b"hello"


def test_an_empty_file_and_a_folder_keep_their_place(api, alice, home):
    assert begin(api(alice), 0, filename="e", relativePath="top/sub/e").status_code == 201
    assert (home / "top" / "sub" / "e").read_bytes() == b""


def test_two_pages_that_send_one_name_never_mix(api, alice, home):
    client = api(alice)
    one, two = (begin(client, 4, filename="a.txt")["Location"] for _ in range(2))
    send(client, one, 0, b"11")
    send(client, two, 0, b"22")
    send(client, two, 2, b"22")
    send(client, one, 2, b"11")
    assert (home / "a.txt").read_bytes() == b"2222"
    assert (home / "a (2).txt").read_bytes() == b"1111"


def test_a_file_that_is_replaced_goes_to_the_trash(api, alice, home, made):
    made("a.txt", b"old")
    client = api(alice)
    url = begin(client, 3, filename="a.txt", on_clash="replace")["Location"]
    send(client, url, 0, b"new")
    assert (home / "a.txt").read_bytes() == b"new"
    (entry,) = client.get("/api/drive/trash/").json()["results"]
    assert entry["path"] == "a.txt"


def test_a_piece_that_fails_its_checksum_is_taken_back(api, alice):
    client = api(alice)
    url = begin(client, 10, filename="a")["Location"]
    good = base64.b64encode(hashlib.sha1(b"01234").digest()).decode()
    bad = send(client, url, 0, b"01235", HTTP_UPLOAD_CHECKSUM=f"sha1 {good}")
    assert (bad.status_code, bad.json()["code"]) == (460, "bad_checksum")
    assert client.head(url, **TUS)["Upload-Offset"] == "0"
    assert send(client, url, 0, b"01234", HTTP_UPLOAD_CHECKSUM=f"sha1 {good}").status_code == 204


def test_what_was_complete_when_the_studio_died_is_placed_when_it_is_asked_for(api, alice, home):
    client = api(alice)
    url = begin(client, 3, filename="a")["Location"]
    draft = home.parent / "drafts" / url.rpartition("/")[2]
    draft.write_bytes(b"abc")
    assert client.head(url, **TUS)["Upload-Offset"] == "3"
    assert (home / "a").read_bytes() == b"abc"
    Upload.objects.update(placed_at=None)  # killed between the rename and its note
    assert client.head(url, **TUS)["Upload-Offset"] == "3"
    assert os.listdir(home) == ["a"]


def test_an_upload_is_ended_by_its_owner_alone_and_by_time(api, alice, carol, home, settings):
    client = api(alice)
    url = begin(client, 3, filename="a")["Location"]
    for method in ("head", "delete"):
        assert getattr(api(carol), method)(url, **TUS).status_code == 404
    assert send(api(carol), url, 0, b"abc").status_code == 404
    assert client.delete(url, **TUS).status_code == 204
    assert client.head(url, **TUS).status_code == 404
    begin(client, 3, filename="b")
    Upload.objects.update(expires_at=Upload.objects.get().created_at)
    assert uploads.end_expired_uploads() == 1
    assert os.listdir(home.parent / "drafts") == []


def test_what_does_not_fit_is_refused_before_a_byte_is_sent(api, alice):
    full = begin(api(alice), 65 * 2**20, filename="a")
    assert (full.status_code, full.json()["code"]) == (413, "drive_full")
    assert full.json()["params"]["needed_bytes"] == 65 * 2**20
    assert not Upload.objects.exists()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"HTTP_UPLOAD_LENGTH": "x"}, 400),
        ({"HTTP_UPLOAD_LENGTH": "-1"}, 400),
        ({"HTTP_UPLOAD_LENGTH": "9" * 30}, 400),
        ({"HTTP_UPLOAD_LENGTH": "3", "HTTP_UPLOAD_METADATA": "filename !!!"}, 400),
        ({"HTTP_UPLOAD_LENGTH": "3", "HTTP_UPLOAD_METADATA": meta(filename="../../x")}, 400),
        ({"HTTP_UPLOAD_LENGTH": "3", "HTTP_UPLOAD_METADATA": meta(filename="/etc/x")}, 400),
        ({"HTTP_UPLOAD_LENGTH": "3", "HTTP_UPLOAD_METADATA": meta(filename="a\0b")}, 400),
        ({"HTTP_UPLOAD_LENGTH": "3", "HTTP_UPLOAD_METADATA": meta(other="x")}, 400),
        ({"HTTP_UPLOAD_DEFER_LENGTH": "1"}, 400),
        ({"HTTP_UPLOAD_LENGTH": "3", "HTTP_TUS_RESUMABLE": "0.2"}, 412),
    ],
)
def test_headers_that_make_no_sense_are_refused(api, alice, headers, status):
    answer = api(alice).post(U, **(TUS | headers))
    assert answer.status_code == status, answer.content
    assert answer.json()["message"]
    assert not Upload.objects.exists()


def test_a_browser_needs_its_csrf_token(alice):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(alice, backend="django.contrib.auth.backends.ModelBackend")
    assert begin(client, 3, filename="a").json()["code"] == "csrf_failed"
