"""Zip, unzip and copy; archives that mean harm; previews."""

import json
import os
import stat
import zipfile
from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from studio.drive import works
from studio.drive.errors import BadPath
from studio.drive.models import Work
from studio.drive.names import MOST_NAME_BYTES, number_name, parse_path, show, show_path
from tests.studio.drive.conftest import zip_of

D = "/api/drive/"


@pytest.fixture
def ask(api, alice, monkeypatch):
    """`ask(kind="zip", paths=[...])` submits a work and runs it as the control worker would."""
    monkeypatch.setattr(works, "_send", lambda work: None)

    def submit(*, run: bool = True, **body):
        answer = api(alice).post(f"{D}works/", body, format="json")
        if answer.status_code != 201 or not run:
            return answer.json()
        works.run_work(answer.json()["id"])
        return api(alice).get(f"{D}works/{answer.json()['id']}/").json()

    return submit


@pytest.mark.django_db
def test_a_folder_is_zipped_and_unpacked_and_copied(ask, home, made):
    made("work/\u6587/a.txt", b"a" * 100_000)
    made("work/b.txt", b"b")
    zipped = ask(kind="zip", paths=["work"])
    assert (zipped["state"], zipped["result_path"]) == ("done", "work.zip")
    assert zipped["done_bytes"] == zipped["total_bytes"] == 100_001
    unpacked = ask(kind="unzip", paths=["work.zip"])
    assert (unpacked["state"], unpacked["result_path"]) == ("done", "work (2)")
    assert (home / "work (2)" / "work" / "\u6587" / "a.txt").read_bytes() == b"a" * 100_000
    copied = ask(kind="copy", paths=["work"], target="")
    assert (copied["state"], copied["result_path"]) == ("done", "work (3)")
    assert (home / "work (3)" / "b.txt").read_bytes() == b"b"
    assert os.listdir(home.parent / "drafts") == []


def link_entry() -> bytes:
    return special(stat.S_IFLNK)


def special(kind: int) -> bytes:
    import io

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo("thing")
        info.create_system, info.external_attr = 3, (kind | 0o644) << 16
        archive.writestr(info, "/etc/passwd")
    return out.getvalue()


HARMFUL = {
    "up": zip_of({"../../up": b"x"}),
    "absolute": zip_of({"/etc/x": b"x"}),
    "backslashes": zip_of({"..\\..\\x": b"x"}),
    "drive letter": zip_of({"C:\\x": b"x"}),
    "link": link_entry(),
    "pipe": special(stat.S_IFIFO),
    "device": special(stat.S_IFBLK),
    "long name": zip_of({"n" * 256: b"x"}),
    "twice": None,
    "bomb": zip_of({"zeros": b"\0" * (40 * 2**20), "more": b"\0" * (40 * 2**20)}),
    "no zip": b"PK\x03\x04 but not really",
    "cut": zip_of({"a": os.urandom(5000)})[:-40],
}


@pytest.mark.django_db
@pytest.mark.parametrize("name", HARMFUL)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_means_harm_is_refused_in_one_sentence(ask, home, made, name, tmp_path):
    content = HARMFUL[name]
    if content is None:
        with zipfile.ZipFile(tmp_path / "z", "w") as archive:
            archive.writestr("a", "1")
            archive.writestr("a", "2")
        content = (tmp_path / "z").read_bytes()
    made("bad.zip", content)
    work = ask(kind="unzip", paths=["bad.zip"])
    assert work["state"] == "failed", work
    assert work["problem"]["code"] in {"bad_archive", "drive_full"}
    assert work["problem"]["message"].endswith(".") or "(" in work["problem"]["message"]
    assert os.listdir(home) == ["bad.zip"]
    assert os.listdir(home.parent / "drafts") == []


@pytest.mark.django_db
def test_a_work_is_cancelled_and_leaves_nothing(api, alice, carol, ask, home, made, monkeypatch):
    made("a.txt", b"a" * 100)
    waiting = ask(kind="zip", paths=["a.txt"], run=False)
    assert api(carol).get(f"{D}works/{waiting['id']}/").status_code == 404
    assert api(alice).delete(f"{D}works/{waiting['id']}/").json()["state"] == "cancelled"
    assert works.run_work(waiting["id"]) is False
    running = ask(kind="zip", paths=["a.txt"], run=False)
    monkeypatch.setattr(works, "_SAID_EVERY_S", 0.0)
    whole = works._set_total

    def cancel_soon(work, total):
        whole(work, total)
        api(alice).delete(f"{D}works/{running['id']}/")

    monkeypatch.setattr(works, "_set_total", cancel_soon)
    works.run_work(running["id"])
    assert Work.objects.get(pk=running["id"]).state == "cancelled"
    assert os.listdir(home) == ["a.txt"]
    assert os.listdir(home.parent / "drafts") == []


@pytest.mark.django_db
def test_a_work_whose_worker_died_is_begun_again(ask, home, made):
    made("a.txt")
    work = ask(kind="zip", paths=["a.txt"], run=False)
    (home.parent / "drafts" / work["id"]).write_bytes(b"half")
    Work.objects.update(state="running", slot=0, beat_at=timezone.now() - timedelta(minutes=5))
    assert works.tend_works() == 1
    works.run_work(work["id"])
    assert zipfile.ZipFile(home / "a.txt.zip").namelist() == ["a.txt"]


@pytest.mark.django_db
def test_no_more_works_run_at_once_than_there_are_places(ask, made):
    made("a.txt")
    ids = [ask(kind="zip", paths=["a.txt"], run=False)["id"] for _ in range(3)]
    Work.objects.filter(pk=ids[0]).update(state="running", slot=0, beat_at=timezone.now())
    Work.objects.filter(pk=ids[1]).update(state="running", slot=1, beat_at=timezone.now())
    assert works.run_work(ids[2]) is False
    Work.objects.filter(pk=ids[0]).update(state="done", slot=None)
    assert works.run_work(ids[2]) is True


@pytest.mark.django_db
def test_a_chinese_windows_archive_keeps_its_names(ask, home, made, tmp_path):
    name = "\u6570\u636e.txt"
    content = zip_of({"xxxxxxxx": b"hi"}).replace(b"xxxxxxxx", name.encode("gb18030"))
    made("w.zip", content)
    assert ask(kind="unzip", paths=["w.zip"])["state"] == "done"
    assert (home / "w" / name).read_bytes() == b"hi"


@pytest.mark.django_db
def test_previews_show_what_a_file_is(api, alice, home, made):
    made("t.csv", b"a,b\n1,2\n")
    made("t.jsonl", b'{"a": 1}\n{"b": [2]}\n')
    made("m.md", "# \u4f60\u597d <script>".encode())
    made("b.bin", b"\0\1")
    made("i.svg", b"<svg onload='x'/>")
    parquet.write_table(pa.table({"n": list(range(300))}), made("p.parquet"))
    cells = [
        {"cell_type": "markdown", "source": ["# Hi"]},
        {
            "cell_type": "code",
            "source": "1",
            "outputs": [
                {"data": {"text/html": "<script>x</script>", "text/plain": "1"}},
                {"data": {"image/png": "aGk="}},
            ],
        },
    ]
    made("n.ipynb", json.dumps({"cells": cells}).encode())
    shown = {}
    for name in os.listdir(home):
        answer = api(alice).get(f"{D}preview/?path={name}")
        assert answer.status_code == 200, answer.content
        shown[name] = answer.json()
    assert (shown["t.csv"]["columns"], shown["t.csv"]["rows"]) == (["a", "b"], [["1", "2"]])
    assert shown["t.jsonl"]["rows"] == [["1", ""], ["", "[2]"]]
    assert shown["m.md"]["kind"] == "markdown"
    assert shown["b.bin"]["kind"] == "binary"
    assert shown["i.svg"]["kind"] == "text"
    assert (shown["p.parquet"]["num_rows"], len(shown["p.parquet"]["rows"])) == (300, 100)
    assert "<script>" not in json.dumps(shown["n.ipynb"])
    assert shown["n.ipynb"]["cells"][1]["outputs"][1]["image"].startswith("data:image/png;base64,")


@pytest.mark.django_db
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "ipynb", "md", "txt", "png"])
@pytest.mark.parametrize("content", [b"", b"PAR1\xff\xff\xff\x7fPAR1", b"\xff\xfe", b"[1]", b"{}"])
def test_a_broken_file_still_has_a_preview(api, alice, made, ending, content):
    made(f"x.{ending}", content)
    assert api(alice).get(f"{D}preview/?path=x.{ending}").status_code == 200


@given(st.binary(min_size=1, max_size=60).filter(lambda raw: not {0, 47} & set(raw)))
def test_every_name_on_disk_is_shown_and_found_again(raw):
    if raw in {b".", b".."}:
        return
    name = os.fsdecode(raw)
    assert show(name).encode()
    assert parse_path(show(name)) == (name,)


@given(st.text(max_size=40))
def test_a_path_is_refused_or_stays_within(path):
    try:
        parts = parse_path(path)
    except BadPath:
        return
    assert not {"", ".", ".."} & set(parts)
    assert show_path(parts) == path.removeprefix("/")


@given(st.text(min_size=1, max_size=300).filter(lambda text: "/" not in text), st.integers(2, 999))
def test_a_numbered_name_still_is_one(name, number):
    numbered = number_name(name.encode("utf-8", "replace").decode(), number)
    assert len(numbered.encode()) <= max(MOST_NAME_BYTES, 0)
    assert f"({number})" in numbered
