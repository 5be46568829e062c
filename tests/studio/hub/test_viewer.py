"""The dataset viewer: every format, huge and hostile files, and how little of them is read."""

import io
import json
import os
import signal
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.core import parquet
from studio.hub.models import Blob, BlobStatistics
from studio.hub.viewer import selectors
from studio.hub.viewer.cells import show_cell
from studio.hub.viewer.splits import list_configs
from studio.hub.viewer.statistics import describe_columns
from tests.studio.hub.made import push

pytestmark = pytest.mark.django_db
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 40
URL = "/api/hub/repos/dataset/alice/data/viewer/"


def make_parquet(table: pa.Table, **options) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


@pytest.fixture
def show(api, alice):
    """`show(files)` pushes them; `show.rows(path=...)` asks the viewer."""

    class Show:
        def __call__(self, files):
            push(alice, "alice/data", files)
            return api(alice).get(URL).json()["configs"]

        def get(self, what, **query):
            return api(alice).get(f"{URL}{what}/", query)

        def rows(self, **query):
            return self.get("rows", **query).json()

    return Show()


def texts(page):
    return [[cell["text"] for cell in row["cells"]] for row in page["rows"]]


def test_parquet_is_shown_by_pages_with_its_types(show):
    table = pa.table({"n": list(range(100)), "s": [f"row {n}" for n in range(100)]})
    show({"data/train.parquet": make_parquet(table, row_group_size=30)})
    page = show.rows(path="data/train.parquet", offset=58, limit=3)
    assert (page["total"], page["columns"], page["types"]) == (100, ["n", "s"], ["int64", "string"])
    assert texts(page) == [["58", "row 58"], ["59", "row 59"], ["60", "row 60"]]
    assert [row["index"] for row in page["rows"]] == [58, 59, 60]
    found = show.rows(path="data/train.parquet", search="ROW 7", limit=2, offset=1)
    assert [row["index"] for row in found["rows"]] == [70, 71]
    assert (found["has_more"], found["is_partial"]) == (True, False)
    assert show.rows(path="data/train.parquet", offset=1000)["rows"] == []


def test_pictures_in_parquet_are_served_without_a_right_to_run(show, api, alice):
    value = {"bytes": PNG, "path": "a.png"}
    show({"train.parquet": make_parquet(pa.table({"image": [value], "raw": [b"<svg>"]}))})
    image, raw = show.rows(path="train.parquet")["rows"][0]["cells"]
    assert (image["kind"], raw["kind"]) == ("image", "bytes")
    answer = api(alice).get(image["url"])
    assert answer.content == PNG and answer.headers["Content-Type"] == "image/png"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert show.get("media", path="train.parquet", row=0, column="raw").status_code == 404


def test_any_jsonl_is_a_table(show):
    lines = [{"a": n, "b": {"c": [1]}} for n in range(200)]
    content = "\n".join([*map(json.dumps, lines), "broken", '{"a": NaN}']).encode()
    show({"train.jsonl": content})
    page = show.rows(path="train.jsonl", offset=199, limit=3)
    assert page["total"] == 202
    assert page["columns"] == ["a", "b", "line"]
    assert texts(page) == [["199", '{"c": [1]}', ""], ["", "", "broken"], ["nan", "", ""]]


def test_csv_and_text_are_tables(show):
    show({"train.csv": '\ufeffname,age\n"a, b",3\n\u4f60,\n'.encode(), "test.txt": b"one\ntwo\n"})
    page = show.rows(path="train.csv")
    assert page["columns"] == ["name", "age"] and texts(page) == [["a, b", "3"], ["\u4f60", ""]]
    assert texts(show.rows(path="test.txt", offset=1)) == [["two"]]


def test_a_folder_of_pictures_is_a_table(show, api, alice):
    configs = show({"cat/1.png": PNG, "dog/2.png": PNG, "dog/evil.png": b"<html>"})
    assert configs[0]["splits"][0] == {
        "name": "train",
        "format": "folder",
        "paths": [],
        "num_files": 3,
    }
    page = show.rows(limit=2)
    assert (page["total"], page["has_more"]) == (3, True)
    first = page["rows"][0]["cells"]
    assert (first[0]["kind"], first[2]["text"]) == ("image", "cat")
    assert api(alice).get(first[0]["url"]).content == PNG
    assert show.get("media", path="dog/evil.png").status_code == 404


def test_configs_and_splits_come_from_the_card_or_from_names():
    paths = ["en/a.jsonl", "zh/train.csv", "zh/test.csv", "README.md"]
    told = {"configs": [{"config_name": "zh", "data_files": [{"split": "x", "path": "zh/*"}]}]}
    (config,) = list_configs(told, paths)
    assert (config.name, config.splits[0].name) == ("zh", "x")
    assert config.splits[0].paths == ["zh/test.csv", "zh/train.csv"]
    (config,) = list_configs({}, paths)
    assert [split.name for split in config.splits] == ["train", "test"]
    assert list_configs({"configs": "x"}, ["README.md"]) == []
    (config,) = list_configs({}, ["note.txt", "more.txt", "a.parquet"])
    assert config.splits[0].paths == ["a.parquet"]


def test_statistics_say_how_many_rows_they_are_told_from(show, monkeypatch):
    monkeypatch.setattr(selectors, "_SAMPLE_ROWS", 50)
    values = [float(n) if n else None for n in range(100)]
    table = pa.table({"n": values, "s": ["a", "bb"] * 50, "l": [[1]] * 100})
    show({"train.parquet": make_parquet(table)})
    body = show.get("statistics", path="train.parquet").json()
    assert (body["num_seen"], body["is_whole"], body["num_rows"]) == (50, False, 100)
    number, text, items = body["columns"]
    assert number["whole"] == {"num_null": 1, "min": 1.0, "max": 99.0}
    assert (number["num_null"], number["max"], sum(number["bins"])) == (1, 49.0, 49)
    assert text["top"] == [{"value": "a", "count": 25}, {"value": "bb", "count": 25}]
    assert (items["kind"], items["mean"]) == ("list", 1.0)
    assert BlobStatistics.objects.count() == 1
    assert show.get("statistics", path="train.parquet").json() == body


@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())))
def test_any_values_have_statistics_and_cells_that_can_be_sent(values):
    json.dumps(describe_columns({"x": value} for value in values), allow_nan=False).encode()
    for value in values:
        json.dumps(vars(show_cell(value))).encode()
        show_cell([value, {"k": value}])


def broken_parquets():
    good = make_parquet(pa.table({"n": [1, 2, 3]}))
    huge = struct.pack("<I", 2**31 - 1)
    return {
        "cut": good[: len(good) // 2],
        "no-footer": b"PAR1" + b"\0" * 100 + b"PAR1",
        "long-footer": good[:-8] + huge + b"PAR1",
        "zeroed-pages": b"PAR1" + b"\0" * (len(good) // 3) + good[4 + len(good) // 3 :],
        "empty": b"",
    }


@pytest.mark.parametrize("name", list(broken_parquets()))
def test_broken_parquet_is_told_in_one_sentence(show, name):
    show({"train.parquet": broken_parquets()[name]})
    for what in ("rows", "statistics"):
        answer = show.get(what, path="train.parquet")
        assert (answer.status_code, answer.json()["code"]) == (400, "file_unreadable")
        assert answer.json()["message"].startswith("path: ")


@pytest.fixture
def small_readers(monkeypatch):
    """Readers that may have little memory, and none but them."""
    monkeypatch.setattr(parquet, "MOST_MEMORY", 640 * 2**20)
    monkeypatch.setattr(parquet, "_idle", [])
    yield
    for reader in parquet._idle:
        reader.end()


def test_a_page_that_would_fill_the_memory_is_refused(show, small_readers):
    table = pa.table({"n": [1, 2], "s": ["small", "\0" * (240 * 2**20)]})
    content = make_parquet(table, compression="zstd", use_dictionary=False)
    assert len(content) < 2**20
    show({"train.parquet": content})
    answer = show.get("rows", path="train.parquet")
    assert answer.status_code == 400 and "more than there is memory for" in answer.json()["message"]
    show({"train.parquet": make_parquet(pa.table({"n": [1]}))})
    assert texts(show.rows(path="train.parquet")) == [["1"]]


def test_a_reader_that_falls_takes_nobody_with_it(show, small_readers):
    show({"train.parquet": make_parquet(pa.table({"n": list(range(9))}))})
    assert len(show.rows(path="train.parquet")["rows"]) == 9
    (reader,) = parquet._idle
    reader._process.kill()
    answer = show.get("rows", path="train.parquet")
    assert (answer.status_code, answer.json()["code"]) == (400, "file_unreadable")
    assert len(show.rows(path="train.parquet")["rows"]) == 9


def test_a_reader_that_does_not_answer_is_ended_in_time(show, small_readers):
    show({"train.parquet": make_parquet(pa.table({"n": list(range(9))}))})
    show.rows(path="train.parquet")
    (reader,) = parquet._idle
    os.kill(reader._process.pid, signal.SIGSTOP)
    answer = show.get("rows", path="train.parquet")
    assert (answer.status_code, answer.json()["code"]) == (400, "file_unreadable")
    assert reader._process.returncode == -signal.SIGKILL and parquet._idle == []


def test_a_reader_has_none_of_the_studio_s_secrets(monkeypatch, show, small_readers):
    monkeypatch.setenv("ATHANOR_SECRET", "hush")
    show({"train.parquet": make_parquet(pa.table({"n": [1]}))})
    show.rows(path="train.parquet")
    (reader,) = parquet._idle
    environ = Path(f"/proc/{reader._process.pid}/environ").read_bytes()
    assert b"hush" not in environ
    open_files = list(Path(f"/proc/{reader._process.pid}/fd").iterdir())
    assert len(open_files) == 4


def test_many_at_once_share_the_readers(monkeypatch):
    content = make_parquet(pa.table({"n": list(range(1000))}), row_group_size=10)

    def read(number: int) -> int:
        with parquet.ParquetFile(io.BytesIO(content), ends_at=time.monotonic() + 60) as file:
            return next(file.iter_rows(number))["n"]

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(read, range(60))) == list(range(60))
    assert len(parquet._idle) <= 4


@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(at=st.integers(0, 400), byte=st.integers(0, 255))
def test_one_wrong_byte_never_breaks_the_viewer(monkeypatch, at, byte):
    content = bytearray(make_parquet(pa.table({"n": [1, 2], "s": ["a", "b"]})))
    content[at % len(content)] = byte
    monkeypatch.setattr(selectors, "open_blob", lambda blob: io.BytesIO(bytes(content)))
    try:
        selectors.read_page(Blob(), "x.parquet", offset=0, limit=5)
    except selectors.BadInput as error:
        assert error.code == "file_unreadable"


def make_pages(rows: list[str], **options) -> bytes:
    """Return one row group of many pages."""
    options = {"compression": "zstd", "data_page_size": 64, "write_batch_size": 4} | options
    return make_parquet(pa.table({"s": rows}), use_dictionary=False, **options)


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=4))
def test_wrong_bytes_in_any_page_never_break_the_viewer(monkeypatch, changes):
    content = bytearray(make_pages([f"row {n}" for n in range(60)], compression="none"))
    for at, byte in changes:
        content[at % len(content)] = byte
    monkeypatch.setattr(selectors, "open_blob", lambda blob: io.BytesIO(bytes(content)))
    try:
        selectors.read_page(Blob(), "x.parquet", offset=50, limit=20)
    except selectors.BadInput as error:
        assert error.code == "file_unreadable"


class SparseFile(io.RawIOBase):
    """50 GB of nothing with something at both ends; counts what is read."""

    def __init__(self, size: int, head: bytes = b"", tail: bytes = b"", filler: bytes = b"\0"):
        self.size, self.head, self.tail, self.filler = size, head, tail, filler
        self.at = self.num_read = 0

    def readable(self):
        return True

    def seekable(self):
        return True

    def tell(self):
        return self.at

    def seek(self, offset, whence=0):
        self.at = (0, self.at, self.size)[whence] + offset
        return self.at

    def read(self, size=-1):
        size = min(self.size - self.at if size < 0 else size, self.size - self.at)
        assert size < 2**28
        piece = bytearray(self.filler * (size // len(self.filler) + 1))[:size]
        for place, known in ((0, self.head), (self.size - len(self.tail), self.tail)):
            first, last = max(self.at, place), min(self.at + size, place + len(known))
            if first < last:
                piece[first - self.at : last - self.at] = known[first - place : last - place]
        self.at, self.num_read = self.at + size, self.num_read + size
        return bytes(piece)


def open_sparse(monkeypatch, file):
    monkeypatch.setattr(selectors, "open_blob", lambda blob: file)
    return file


def test_a_page_of_50_gb_of_parquet_reads_a_few_kilobytes(monkeypatch):
    rows = make_parquet(pa.table({"n": list(range(1000))}), row_group_size=100)
    length = int.from_bytes(rows[-8:-4], "little")
    footer = rows[-length - 8 :]
    size = 50 * 10**9
    file = SparseFile(size, head=rows[: -length - 8], tail=footer)
    open_sparse(monkeypatch, file)
    page = selectors.read_page(Blob(), "x.parquet", offset=900, limit=2)
    assert (page.total, [row.cells[0].text for row in page.rows]) == (1000, ["900", "901"])
    assert file.num_read < 300_000


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv", "x.txt"])
def test_a_page_of_50_gb_of_lines_reads_its_beginning(monkeypatch, name):
    file = SparseFile(50 * 10**9, filler=b'{"a": 1}\n')
    open_sparse(monkeypatch, file)
    page = selectors.read_page(Blob(sha256="0"), name, offset=0, limit=20)
    assert len(page.rows) == 20 and page.has_more and page.total is None
    assert file.num_read < 200_000


def test_a_search_of_50_gb_ends_and_says_that_it_is_partial(monkeypatch):
    monkeypatch.setattr(selectors, "_SEARCH", selectors.Budget(2**20, 60))
    file = open_sparse(monkeypatch, SparseFile(50 * 10**9, filler=b'{"a": 1}\n'))
    page = selectors.read_page(Blob(sha256="0"), "x.jsonl", offset=0, limit=20, search="nowhere")
    assert page.is_partial and not page.rows and page.num_seen > 1000
    assert file.num_read <= 2**20 + 2**16


def test_a_line_of_1_gb_ends_the_page_and_not_the_memory(monkeypatch):
    monkeypatch.setattr(selectors, "_PAGE", selectors.Budget(12 * 2**20, 60))
    file = open_sparse(monkeypatch, SparseFile(10**9, head=b'{"a": 1}\n', filler=b"x"))
    page = selectors.read_page(Blob(sha256="0"), "x.jsonl", offset=0, limit=20)
    assert page.is_partial and texts({"rows": [vars_of(row) for row in page.rows]})[0] == ["1"]
    assert file.num_read <= 12 * 2**20 + 2**16


def vars_of(row):
    return {"cells": [vars(cell) for cell in row.cells]}


def test_a_path_that_is_no_table_is_told(show):
    show({"a.bin": b"x", "train.csv": b"a\n1\n"})
    answer = show.get("rows", path="a.bin")
    assert (answer.status_code, answer.json()["field"]) == (400, "path")
    assert show.get("rows", path="nothing.csv").status_code == 404


def test_a_stranger_sees_nothing_of_the_viewer(show, api, carol):
    show({"train.csv": b"a\n1\n"})
    for what in ("", "rows/?path=train.csv", "statistics/?path=train.csv", "media/?path=train.csv"):
        assert api(carol).get(URL + what).status_code == 404
