"""Files of every kind give the same rows, in bounded memory; what is broken is told."""

import csv
import gzip
import json
import tracemalloc

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.files import find_files, iter_rows
from engine.errors import EngineError
from engine.specs.json_array import iter_array

ROWS = [{"instruction": f"Say {n}", "input": "", "output": f"{n}, \u4f60\n"} for n in range(9)]


def write(path, rows):
    """Write rows as the file's name says."""
    if path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=4)
    elif path.suffix in (".csv", ".tsv"):
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(
                file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ","
            )
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=1, ensure_ascii=False))
    else:
        text = "".join(json.dumps(row) + "\n" for row in rows)
        content = text.encode()
        path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


NAMES = ["a.jsonl", "a.ndjson", "a.json", "a.parquet", "a.csv", "a.tsv", "a.jsonl.gz"]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_rows_come_from_every_kind_of_file(tmp_path, name):
    write(tmp_path / name, ROWS)
    read = list(iter_rows(tmp_path / name))
    assert [row for _, row, _ in read] == ROWS
    assert all(problems == [] for _, _, problems in read)


def test_lines_in_a_json_file_are_rows(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('\n{"text": "a"}\n\n{"text": "b"}\n')
    assert [(number, row["text"]) for number, row, _ in iter_rows(path)] == [(2, "a"), (4, "b")]


def test_packed_cells_are_unpacked_and_absent_fields_stay_absent(tmp_path):
    messages = [
        {"role": "user", "content": "Hi", "tool_call_id": None},
        {"role": "tool", "content": "x", "tool_call_id": "a"},
    ]
    write(tmp_path / "a.parquet", [{"messages": messages, "tools": '[{"name": "f"}]'}])
    [(_, row, _)] = iter_rows(tmp_path / "a.parquet")
    assert row == {
        "messages": [{"role": "user", "content": "Hi"}, messages[1]],
        "tools": [{"name": "f"}],
    }
    write(tmp_path / "a.csv", [{"prompt": "Hi", "chosen": '["a"]', "rejected": "[1", "tools": ""}])
    [(_, row, _)] = iter_rows(tmp_path / "a.csv")
    assert row == {"prompt": "Hi", "chosen": '["a"]', "rejected": "[1"}


def test_bad_rows_of_a_csv_are_told_and_the_others_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b'text,id\na,1\nb\n\xff,2\n"c"d,3\ne,4\n')
    read = list(iter_rows(path))
    assert [number for number, _, _ in read] == [2, 3, 4, 5, 6]
    codes = [problems[0].code if problems else "" for _, _, problems in read]
    assert codes == ["", "bad_width", "bad_bytes", "bad_csv", ""]


def test_text_of_a_parquet_file_that_is_none_is_told(tmp_path):
    column = pyarrow.array([b"good", b"\xff", b"also"]).cast(pyarrow.string(), safe=False)
    table = pyarrow.table(
        {"text": pyarrow.Array.from_buffers(pyarrow.string(), 3, column.buffers())}
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    read = list(iter_rows(tmp_path / "a.parquet"))
    assert [row for _, row, _ in read] == [{"text": "good"}, None, {"text": "also"}]
    assert read[1][2][0].code == "bad_bytes"


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("a.json", b"[", "is not JSON in row 1"),
        ("a.json", b'[{"a": 1}', "ends"),
        ("a.json", b'[{"a": 1} {', "has '{' where ',' is wanted"),
        ("a.json", b'[{"a": 1}, {"b": ]', "is not JSON in row 2"),
        ("a.json", b'[{"a": NaN}]', "is not JSON in row 1"),
        ("a.json", b"[" * 100_000, "nested too deeply in row 1"),
        ("a.json", b'["\xff"]', "is not UTF-8"),
        ("a.json", b"[1] [2]", "goes on behind its list"),
        ("a.parquet", b"PAR1 but not really", "no Parquet file"),
        ("a.parquet", b"", "no Parquet file"),
        ("a.jsonl.gz", b"not gzip", "cannot be read to its end"),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"a": 1}\n' * 999, mtime=0)[:-20],
            "cannot be read to its end",
        ),
        ("a.csv", b"a,a\n1,2\n", "no clear column names"),
    ],
)
def test_a_broken_file_is_refused_in_one_sentence(tmp_path, name, content, match):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EngineError, match=match) as caught:
        list(iter_rows(tmp_path / name))
    assert "\n" not in caught.value.message
    assert caught.value.message.endswith(".")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
).filter(lambda value: "Infinity" not in json.dumps(value))


@given(st.lists(VALUES, max_size=8), st.integers(1, 9), st.sampled_from([None, 1]))
@settings(deadline=None)
def test_an_array_is_the_same_however_the_stream_is_cut(values, size, indent):
    content = json.dumps(values, indent=indent, ensure_ascii=False).encode("utf-8", "replace")
    chunks = [content[start : start + size] for start in range(0, len(content), size)]
    assert [value for _, value, _ in iter_array(chunks, "a.json")] == json.loads(content)


@given(st.binary(max_size=60), st.sampled_from([".json", ".jsonl", ".csv", ".tsv", ".parquet"]))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read_or_refused_in_words(tmp_path_factory, content, suffix):
    path = tmp_path_factory.mktemp("bytes") / f"a{suffix}"
    path.write_bytes(content)
    try:
        for _, row, problems in iter_rows(path):
            assert problems or row is not None or suffix == ".json"
    except EngineError as error:
        assert error.message.startswith("dataset: ")


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"text": "a"}\n')


@pytest.mark.parametrize(
    ("names", "options", "found"),
    [
        (["a.jsonl", "b.jsonl"], {}, ["a.jsonl", "b.jsonl"]),
        (["train.jsonl", "other.jsonl"], {}, ["train.jsonl"]),
        (["train.jsonl", "test.jsonl"], {"split": "test"}, ["test.jsonl"]),
        (
            ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]
            + ["data/test-00000-of-00001.parquet", "README.md"],
            {},
            ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"],
        ),
        (["train/a.json", "dataset_info.json", ".cache/b.json"], {}, ["train/a.json"]),
        (["a/x.json", "b/x.json"], {"patterns": ("b/*.json",)}, ["b/x.json"]),
    ],
)
def test_the_files_of_a_folder_are_found(tmp_path, names, options, found):
    make(tmp_path, *names)
    assert [str(path.relative_to(tmp_path)) for path in find_files(tmp_path, **options)] == found


@pytest.mark.parametrize(
    ("names", "options", "match"),
    [
        (["README.md"], {}, "add a data file"),
        (["test.jsonl", "dev.jsonl"], {}, "name the split"),
        (["train.jsonl"], {"split": "dev"}, "no file is named after split 'dev'"),
        (["train.jsonl"], {"patterns": ("*.csv",)}, "no file matches"),
    ],
)
def test_an_open_choice_of_files_is_refused(tmp_path, names, options, match):
    make(tmp_path, *names)
    with pytest.raises(EngineError, match=match):
        find_files(tmp_path, **options)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.parquet", "a.csv"])
def test_memory_does_not_grow_with_the_file(tmp_path, name):
    peaks = []
    for num_rows in (3_000, 30_000):
        rows = ({"text": f"{n} " * 100, "id": str(n)} for n in range(num_rows))
        write(tmp_path / name, list(rows))
        tracemalloc.start()
        assert sum(1 for _ in iter_rows(tmp_path / name)) == num_rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] + 2**20
    assert peaks[1] < 16 * 2**20
