"""Checks of data files, made once per content, and the marks that let a page seek in one of lines.

The rules are `engine.specs.report`; this file only feeds it and keeps what it finds.
"""

from array import array
from collections.abc import Iterator
from typing import BinaryIO

from engine.specs.files import get_suffix
from engine.specs.messages import MAX_LINE_BYTES
from engine.specs.report import DatasetReport, check_rows, iter_lines_of_rows, tell_format
from studio.core.errors import BadInput
from studio.hub.content import open_blob
from studio.hub.datafiles import LINES, check_beginning
from studio.hub.models import Blob, BlobReport, Commit

ROWS_PER_MARK = 64
_VERSION = 3  # raise it when the rules change: reports are then made anew
_REST_BYTES = 2**16
MOST_CHECKED_BYTES = 512 * 2**20
"""A larger file is not read whole to commit it or to show its page."""


def find_data_file(commit: Commit) -> tuple[str, Blob] | None:
    """Return path and content of a dataset's one file of lines; None for none or an open choice.

    It is what rows are shown and labelled of: a single `train.jsonl`, or the only `.jsonl`. What a
    training reads is `studio.hub.trainable`'s to say.
    """
    found = commit.files.filter(path__endswith=".jsonl").select_related("blob").order_by("path")
    files = [(file.path, file.blob) for file in found]
    named = [file for file in files if file[0].rpartition("/")[2] == "train.jsonl"]
    for choice in (named, files):
        if len(choice) == 1:
            return choice[0]
    return None


def get_data_file(commit: Commit) -> tuple[str, Blob]:
    """Return path and content of a dataset's one file.

    Raises:
        BadInput: there is none, or the choice is open.
    """
    found = find_data_file(commit)
    if found is None:
        repo_id = commit.repo.repo_id
        message = (
            f"spec.dataset: {repo_id} needs one .jsonl file; name the training file train.jsonl."
        )
        raise BadInput(message, field="spec.dataset", code="dataset_file_unclear", dataset=repo_id)
    return found


def get_report(blob: Blob, path: str = "train.jsonl") -> BlobReport:
    """Return what the check of a file found, checking it now where nobody has.

    Raises:
        BadInput: it cannot be read as what its name says, or is in no format that we know.
    """
    known = BlobReport.objects.filter(blob=blob, version=_VERSION).first()
    if known is not None:
        return known
    is_quick = get_suffix(path) in LINES and not path.endswith(".gz")
    if is_quick and blob.size_bytes <= MOST_CHECKED_BYTES:
        with open_blob(blob) as file:
            report, marks = check_file(file)
    else:
        report, marks = check_beginning(blob, path), array("Q")
    body = {"version": _VERSION, "body": report.model_dump(), "row_marks": marks.tobytes()}
    return BlobReport.objects.update_or_create(blob=blob, defaults=body)[0]


def read_report(blob: Blob, path: str = "train.jsonl") -> DatasetReport:
    """Return a file's report as the value it is."""
    return DatasetReport.model_validate(get_report(blob, path).body)


def check_file(file: BinaryIO) -> tuple[DatasetReport, "array[int]"]:
    """Check a file of lines in one pass and bounded memory; return its report and its marks."""
    marks = array("Q")
    name, rows = tell_format(iter_lines_of_rows(_mark_rows(file, marks)))
    return check_rows(rows, name or "messages"), marks


def iter_rows(file: BinaryIO, *, line: int = 1) -> Iterator[tuple[int, int, bytes]]:
    """Yield offset, line number and bytes of each line from where the file stands, blank ones too.

    Line ends are cut off. Of a line over the limit only enough is kept to be refused for it.
    """
    offset = file.tell()
    while piece := file.readline(MAX_LINE_BYTES + 2):
        kept, length = piece, len(piece)
        while not piece.endswith(b"\n") and (piece := file.readline(_REST_BYTES)):
            length += len(piece)
        yield offset, line, kept.removesuffix(b"\n").removesuffix(b"\r")
        offset, line = offset + length, line + 1


def find_mark(report: BlobReport, row_index: int) -> tuple[int, int, int]:
    """Return offset and line number of the last mark before a row, and the row that is marked."""
    marks = array("Q")
    marks.frombytes(bytes(report.row_marks))
    index = min(row_index // ROWS_PER_MARK, len(marks) // 2 - 1)
    if index < 0:
        return 0, 1, 0
    return marks[2 * index], marks[2 * index + 1], index * ROWS_PER_MARK


def _mark_rows(file: BinaryIO, marks: "array[int]") -> Iterator[bytes]:
    num_rows = 0
    for offset, number, line in iter_rows(file):
        if line.strip():
            if num_rows % ROWS_PER_MARK == 0:
                marks.extend((offset, number))
            num_rows += 1
        yield line
