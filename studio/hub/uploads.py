"""Files that people send: what is taken, and the one sentence for what is not."""

from typing import BinaryIO, Protocol

from django.conf import settings

from engine.specs.files import get_suffix
from studio.core.errors import BadInput, TooBig

_ZIPPED = {".xlsx": "an Excel workbook", ".docx": "a Word document", ".npz": "a NumPy archive"}
_BEGINNINGS: list[tuple[bytes, str]] = [
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old Office document"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"\x89PNG", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
]
LINES = (".jsonl", ".ndjson")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def name_data_file(name: str | None) -> str:
    """Return what an uploaded file is called in its repo: by its kind, the only one there."""
    suffix = get_suffix(name or "")
    return f"train{suffix}" if suffix in (".json", ".parquet", ".csv", ".tsv") else "train.jsonl"


class UploadedFile(Protocol):
    """What the web framework hands over: an open file with a name and a size."""

    name: str | None
    size: int | None
    file: BinaryIO


def check_upload(upload: UploadedFile) -> BinaryIO:
    """Return the open file of an upload that may hold rows, told by name and beginning.

    Raises:
        BadInput: it is empty, or visibly something else; the sentence says what and the mend.
        TooBig: it has more bytes than this door takes.
    """
    name, most = upload.name or "the file", settings.HUB_MAX_UPLOAD_BYTES
    if (upload.size or 0) > most:
        message = (
            f"file: {name} has {(upload.size or 0) / 2**20:.0f} MiB and {most / 2**20:.0f} MiB "
            "are the most; split it."
        )
        raise TooBig(message, field="file", bytes=upload.size, most=most)
    file = upload.file
    file.seek(0)
    start = file.read(4096)
    file.seek(0)
    if not start:
        raise _refusal(name, "is empty; put one JSON object on each line", "file_empty")
    suffix = get_suffix(name)
    if suffix == ".parquet" and start.startswith(b"PAR1"):
        return file
    found = _recognize(name, start)
    if found:
        mend = "export it as JSONL, CSV or Parquet"
        raise _refusal(name, f"is {found}; {mend}", "file_wrong_kind", found=found)
    if start.startswith(_UTF16) or b"\0" in start[:64]:
        raise _refusal(name, "is not UTF-8 (it looks like UTF-16); save it as UTF-8", "file_utf16")
    is_list = start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    if is_list and suffix in LINES:
        what = "is one JSON list; write one object on each line, without brackets and commas"
        raise _refusal(name, what, "file_json_list")
    return file


def _recognize(name: str, start: bytes) -> str | None:
    if start.startswith(b"PK\x03\x04"):
        ending = f".{name.rpartition('.')[2].lower()}"
        return _ZIPPED.get(ending, "a zip archive")
    return next((what for magic, what in _BEGINNINGS if start.startswith(magic)), None)


def _refusal(name: str, what: str, code: str, **params: str) -> BadInput:
    return BadInput(f"file: {name} {what}.", field="file", code=code, name=name, **params)
