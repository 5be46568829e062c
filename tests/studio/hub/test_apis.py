"""The dashboard's side of the hub."""

import io
import json

import pyarrow
import pyarrow.parquet
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from studio.hub.models import Blob, Commit, Repo
from studio.hub.viewer.budget import Budget
from tests.studio.hub.made import make_row, push
from tests.studio.hub.weights import ADAPTER_FILES, CONFIG, MODEL_FILES

pytestmark = pytest.mark.django_db
REPOS = "/api/hub/repos/"
BAD = '{"messages": [{"role": "wizard", "content": "x"}]}'


def upload(client, content: bytes, *, file_name="talk.jsonl", url="/api/hub/datasets/", **fields):
    file = SimpleUploadedFile(file_name, content)
    body = {"file": file} if url.endswith("check/") else {"name": "talk", **fields, "file": file}
    return client.post(url, body, format="multipart")


def lines(*rows: str) -> bytes:
    return "".join(f"{row}\n" for row in rows).encode()


def to_parquet(rows) -> bytes:
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), out)
    return out.getvalue()


def test_an_upload_is_kept_byte_for_byte_with_its_report(api, alice):
    content = lines(make_row("\u4f60\u662f\u8c01"), BAD, "{", make_row())
    answer = upload(api(alice), content, visibility="public", summary="Small talk")
    assert answer.status_code == 201, answer.content
    repo = answer.json()
    assert (repo["id"], repo["visibility"], repo["summary"]) == (
        "alice/talk",
        "public",
        "Small talk",
    )
    assert (repo["num_rows"], repo["is_mine"], repo["role"]) == (4, True, "dataset")
    report = repo["report"]
    assert (report["num_good"], report["num_bad"]) == (2, 2)
    assert [(p["line"], p["field"]) for p in report["problems"]] == [
        (2, "messages[0].role"),
        (3, ""),
    ]
    (data,) = [file for file in repo["files"] if file["path"] == "train.jsonl"]
    assert data["size_bytes"] == len(content)
    got = api(alice).get("/datasets/alice/talk/resolve/main/train.jsonl")
    assert b"".join(got) == content


def test_a_check_stores_nothing(api, alice):
    answer = upload(api(alice), lines(make_row(), BAD), url="/api/hub/datasets/check/")
    assert (answer.json()["num_good"], answer.json()["num_bad"]) == (1, 1)
    assert not Blob.objects.exists() and not Repo.objects.exists()


@pytest.mark.parametrize("url", ["/api/hub/datasets/", "/api/hub/datasets/check/"])
@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("a.jsonl", b"", "file_empty", "is empty"),
        ("a.zip", b"PK\x03\x04rest", "file_wrong_kind", "is a zip archive"),
        ("a.xlsx", b"PK\x03\x04rest", "file_wrong_kind", "is an Excel workbook"),
        ("a.jsonl", b"PAR1rest", "file_wrong_kind", "is a Parquet file"),
        ("a.gz", b"\x1f\x8b\x08", "file_wrong_kind", "is a gzip archive"),
        ("a.jsonl", '{"a": 1}'.encode("utf-16"), "file_utf16", "save it as UTF-8"),
        ("a.jsonl", '{"a": 1}'.encode("utf-16-le"), "file_utf16", "save it as UTF-8"),
        ("a.jsonl", b'[{"messages": []}]', "file_json_list", "is one JSON list"),
    ],
)
def test_a_file_of_another_kind_gets_one_sentence(api, alice, url, name, content, code, said):
    answer = upload(api(alice), content, file_name=name, url=url)
    assert answer.status_code == 400
    assert (answer.json()["code"], answer.json()["field"]) == (code, "file")
    assert said in answer.json()["message"]
    assert not Repo.objects.exists()


ALPACA = [{"instruction": f"Say {n}", "input": "", "output": str(n)} for n in range(3)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("talk.json", json.dumps(ALPACA).encode()),
        ("talk.csv", b"instruction,input,output\nSay 0,,0\nSay 1,,1\nSay 2,,2\n"),
        ("talk.tsv", b"instruction\tinput\toutput\nSay 0\t\t0\nSay 1\t\t1\nSay 2\t\t2\n"),
        ("talk.parquet", to_parquet(ALPACA)),
        ("talk.jsonl", lines(*map(json.dumps, ALPACA))),
    ],
)
def test_rows_of_any_kind_of_file_are_checked_and_kept(api, alice, name, content):
    checked = upload(api(alice), content, file_name=name, url="/api/hub/datasets/check/").json()
    assert (checked["format"], checked["num_good"], checked["num_bad"]) == ("alpaca", 3, 0)
    repo = upload(api(alice), content, file_name=name, name="talk").json()
    assert f"train.{name.partition('.')[2]}" in {file["path"] for file in repo["files"]}
    assert repo["report"] == checked


def test_a_file_that_is_not_what_its_name_says_is_refused_at_the_check(api, alice):
    url = "/api/hub/datasets/check/"
    answer = upload(api(alice), b"PAR1 and no more", file_name="a.parquet", url=url)
    assert (answer.status_code, answer.json()["field"]) == (400, "file")
    assert answer.json()["message"].startswith("file: train.parquet cannot be read as Parquet")


def test_a_large_table_is_told_by_its_beginning(api, alice, monkeypatch):
    monkeypatch.setattr("studio.hub.datafiles._CHECK", Budget(most_bytes=2**18, most_s=30.0))
    push(alice, "alice/large", {"train.csv": b"text\n" + b"a furnace at night\n" * 60_000})
    report = api(alice).get(f"{REPOS}dataset/alice/large/report/").json()
    assert 0.1 < report["share"] < 0.6
    repo = api(alice).get(f"{REPOS}dataset/alice/large/").json()
    assert repo["num_rows"] == pytest.approx(60_000, rel=0.1)


def test_a_file_over_the_limit_is_refused(api, alice, settings):
    settings.HUB_MAX_UPLOAD_BYTES = 10
    answer = upload(api(alice), b"x" * 11)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_big")


@pytest.mark.parametrize("name", ["", "../x", "a b", ".hidden", "x" * 97, "a/b", "a..b", "\u70bc"])
def test_a_name_that_is_none_names_its_field(api, alice, name):
    answer = upload(api(alice), lines(make_row()), name=name)
    assert (answer.status_code, answer.json()["field"]) == (400, "name")
    assert not Repo.objects.exists()


def test_a_name_is_taken_whatever_its_capitals(api, alice):
    client = api(alice)
    upload(client, lines(make_row()))
    again = upload(client, lines(make_row()), name="TALK")
    assert (again.status_code, again.json()["code"]) == (409, "name_taken")


def test_rows_come_in_pages_good_and_bad(api, alice):
    rows = [make_row(f"question {n}", tag=n) for n in range(200)]
    rows[130] = "{broken"
    push(alice, "alice/talk", {"train.jsonl": lines(*rows[:100], "", *rows[100:])})
    url = f"{REPOS}dataset/alice/talk/rows/"
    page = api(alice).get(url, {"offset": 128, "limit": 4}).json()
    assert (page["total"], page["offset"], page["columns"]) == (200, 128, ["messages", "tag"])
    assert [row["line"] for row in page["rows"]] == [130, 131, 132, 133]
    assert [row["row"] and row["row"]["tag"] for row in page["rows"]] == [128, 129, None, 131]
    broken = page["rows"][2]
    assert broken["raw"] == "{broken" and broken["problems"][0]["code"] == "not_json"
    assert api(alice).get(url, {"offset": 500}).json()["rows"] == []


def test_rows_are_found_by_what_people_read(api, alice):
    escaped = json.dumps(json.loads(make_row("\u4f60\u597d")))
    assert "\\u4f60" in escaped
    push(alice, "alice/talk", {"train.jsonl": lines(make_row("Alembic"), escaped, make_row())})
    url = f"{REPOS}dataset/alice/talk/rows/"
    found = api(alice).get(url, {"search": "\u4f60\u597d"}).json()
    assert (found["total"], found["rows"][0]["line"]) == (1, 2)
    assert api(alice).get(url, {"search": "aLEMbic"}).json()["rows"][0]["line"] == 1


def test_half_a_surrogate_pair_is_shown_and_breaks_nothing(api, alice):
    push(alice, "alice/talk", {"train.jsonl": b'{"messages": [], "x": "\\ud800"}\n'})
    page = api(alice).get(f"{REPOS}dataset/alice/talk/rows/").json()
    assert page["rows"][0]["row"] is None and "ud800" in page["rows"][0]["raw"]


def test_keeping_the_good_rows_makes_a_revision(api, alice):
    good = [make_row(f"q{n}") for n in range(3)]
    first = push(alice, "alice/talk", {"train.jsonl": lines(good[0], BAD, *good[1:], "{")})
    url = f"{REPOS}dataset/alice/talk/keep-good-rows/"
    repo = api(alice).post(url).json()
    assert (repo["report"]["num_good"], repo["report"]["num_bad"], repo["num_rows"]) == (3, 0, 3)
    assert repo["revisions"][0]["message"] == "Keep the 3 good rows and drop 2"
    got = api(alice).get("/datasets/alice/talk/resolve/main/train.jsonl")
    assert b"".join(got) == lines(*good)
    old = api(alice).get(f"{REPOS}dataset/alice/talk/report/", {"revision": first.sha}).json()
    assert old["num_bad"] == 2
    api(alice).post(url)
    assert Commit.objects.count() == 2


def test_rows_are_shown_of_one_file_alone(api, alice):
    push(alice, "alice/talk", {"a.jsonl": lines(make_row()), "b.jsonl": lines(make_row())})
    assert api(alice).get(f"{REPOS}dataset/alice/talk/").json()["report"]["num_files"] == 2
    answer = api(alice).get(f"{REPOS}dataset/alice/talk/rows/")
    assert (answer.status_code, answer.json()["code"]) == (400, "dataset_file_unclear")


def test_a_base_shows_its_facts_and_the_adapters_one_may_see(api, alice, bob):
    card = b"---\nlicense: mit\n---\n# Tiny\n\n"
    card += b"A **first** [sentence](x.md)\nover `two` lines. And more.\n"
    push(bob, "bob/tiny", MODEL_FILES | {"README.md": card}, kind="model", visibility="public")
    adapter = dict(ADAPTER_FILES)
    adapter["athanor.json"] = json.dumps(
        {"base": {"repo": "bob/tiny", "revision": "main"}}
    ).encode()
    push(alice, "alice/tuned", adapter, kind="model")
    push(bob, "bob/secret", adapter, kind="model")
    repo = api(alice).get(f"{REPOS}model/bob/tiny/").json()
    assert repo["facts"] == {
        "num_params": 32 * 8 + 8,
        "hidden_size": CONFIG["hidden_size"],
        "num_layers": 2,
        "vocab_size": 32,
        "max_context": 64,
        "memory_bytes": {"fp32": 1056, "bf16": 528, "int8": 264, "int4": 132},
    }
    assert repo["adapters"] == ["alice/tuned"]
    assert repo["summary"] == "A first sentence over two lines."
    assert repo["card"].startswith("# Tiny") and repo["metadata"] == {"license": "mit"}
    tuned = api(alice).get(f"{REPOS}model/alice/tuned/").json()
    assert (tuned["role"], tuned["base_model"], tuned["facts"]) == ("adapter", "bob/tiny", None)
    assert tuned["provenance"]["base"]["repo"] == "bob/tiny"


def test_lists_are_narrowed_and_paged(api, alice, bob):
    push(alice, "alice/talk", {"train.jsonl": lines(make_row())}, visibility="public")
    push(bob, "bob/tiny", MODEL_FILES, kind="model", visibility="public")
    push(bob, "bob/hidden", MODEL_FILES, kind="model")

    def ids(**query):
        return [repo["id"] for repo in api(alice).get(REPOS, query).json()["results"]]

    assert ids() == ["bob/tiny", "alice/talk"]
    assert ids(kind="dataset") == ["alice/talk"]
    assert ids(role="base") == ["bob/tiny"]
    assert ids(search="bob/ti") == ["bob/tiny"]
    assert ids(owner="alice") == ["alice/talk"]
    assert ids(search="nothing") == []
    page = api(alice).get(REPOS, {"page_size": 1, "page": 2}).json()
    assert (page["count"], page["page"], len(page["results"])) == (2, 2, 1)
    assert api(alice).get(REPOS, {"kind": "space"}).status_code == 400


def test_an_owner_shows_hides_and_deletes(api, alice, carol):
    push(alice, "alice/talk", {"train.jsonl": lines(make_row())})
    url = f"{REPOS}dataset/alice/talk/"
    shown = api(alice).patch(url, {"visibility": "public", "summary": "Hi"}, format="json").json()
    assert (shown["visibility"], shown["summary"]) == ("public", "Hi")
    assert api(carol).get(url).json()["is_mine"] is False
    assert api(carol).patch(url, {"summary": "x"}, format="json").status_code == 403
    assert api(carol).delete(url).status_code == 403
    assert api(carol).post(f"{url}keep-good-rows/").status_code == 403
    assert api(alice).delete(url).status_code == 204
    assert api(alice).get(url).status_code == 404


def test_a_stranger_cannot_learn_that_a_private_repo_exists(api, alice, carol, olga):
    push(alice, "alice/talk", {"train.jsonl": lines(make_row(), BAD)})
    url = f"{REPOS}dataset/alice/talk/"
    for stranger in (carol, olga):
        client = api(stranger)
        answers = [
            client.get(url),
            client.get(f"{url}rows/"),
            client.get(f"{url}report/"),
            client.patch(url, {"summary": "x"}, format="json"),
            client.delete(url),
            client.post(f"{url}keep-good-rows/"),
            client.get("/datasets/alice/talk/resolve/main/train.jsonl"),
            client.get("/api/datasets/alice/talk"),
            client.get("/api/datasets/alice/talk/tree/main"),
        ]
        assert {answer.status_code for answer in answers} == {404}
        absent = client.get(f"{REPOS}dataset/alice/nothing/").json()
        assert answers[0].json() == absent
        assert client.get(REPOS).json()["count"] == 0
    assert api().get(url).status_code == 401


def test_a_repo_is_found_whatever_its_capitals(api, alice):
    push(alice, "alice/talk", {"train.jsonl": lines(make_row())})
    assert api(alice).get(f"{REPOS}dataset/Alice/TALK/").json()["id"] == "alice/talk"


def test_a_file_served_runs_nothing_on_our_origin(api, alice):
    push(alice, "alice/talk", {"page.html": b"<script>alert(1)</script>"})
    answer = api(alice).get("/datasets/alice/talk/resolve/main/page.html")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_an_adapter_is_no_base_for_a_launch(api, alice):
    push(alice, "alice/tuned", ADAPTER_FILES, kind="model")
    body = {
        "spec": {"kind": "train", "model": "alice/tuned", "dataset": "alice/none"},
        "flavor": "cpu-1",
    }
    push(alice, "alice/none", {"train.jsonl": lines(make_row())})
    refusals = api(alice).post("/api/jobs/estimate/", body, format="json").json()["refusals"]
    assert "model_is_adapter" in [refusal["code"] for refusal in refusals]
