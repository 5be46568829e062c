"""Reads a commit as Hugging Face clients send it: JSON lines, a header first, files in base64.

One line is in memory at a time, and of a large file once as base64 and once as bytes; all else in a
line is short. Small files wait in memory, 16 MiB of them, and then become safe on disk together.
"""

import binascii
import json
import re
from io import BytesIO
from typing import Any

from django.http import HttpRequest

from studio.accounts.models import User
from studio.core.errors import BadInput, TooBig
from studio.hub.blobs import LARGE_BYTES, store_blob, store_small_blobs
from studio.hub.lfs import find_committable
from studio.hub.models import Blob
from studio.hub.names import check_path
from studio.hub.services import MAX_FILE_BYTES, Changes, Words

MAX_COMMIT_BYTES = 2**30
_BATCH_BYTES = 16 * 2**20
_BATCH_FILES = 500
_MAX_LINE_BYTES = MAX_FILE_BYTES * 4 // 3 + 2**16
# Parsed JSON takes up to 25 times its length (lists in a list), so a file's base64 stays out of it.
_MAX_JSON_BYTES = 16 * 2**20
# JSON escapes every quote within a text, so this stands nowhere but where it means what it says.
_CONTENT = re.compile(rb'"content"\s*:\s*"([A-Za-z0-9+/]+={0,2})"')


def refuse_large(path: str, size_bytes: int) -> None:
    """Let pass what this door takes.

    Raises:
        TooBig: the file is larger; the sentence says the most.
    """
    if size_bytes > MAX_FILE_BYTES:
        raise TooBig(
            f"{path} has {size_bytes / 2**20:.0f} MiB and this door takes files of "
            f"{MAX_FILE_BYTES // 2**20} MiB at most: save the model in smaller shards "
            "(max_shard_size).",
            field="path",
            bytes=size_bytes,
            most=MAX_FILE_BYTES,
        )


def read_commit(request: HttpRequest, by: User) -> tuple[Changes, Words]:
    """Return what a commit request asks for, its files stored.

    Raises:
        BadInput: a line is not what the protocol says; the sentence names the line.
        TooBig: a file or the whole is more than this door takes.
    """
    _check_length(request)
    changes, words = Changes(), None
    small = _SmallFiles(changes)
    number = 0
    while line := request.readline(_MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > _MAX_LINE_BYTES:
            raise TooBig(f"line {number}: a file of it has more than {MAX_FILE_BYTES} bytes.")
        if not line.strip():
            continue
        key, value = _read_line(line, number)
        if key == "header":
            words = _read_words(value)
        else:
            _take(by, changes, small, (key, value, number))
    small.store()
    if words is None:
        raise BadInput("The commit has no header line; send one with a summary first.")
    return changes, words


def _check_length(request: HttpRequest) -> None:
    length = request.headers.get("Content-Length", "")
    if length.isdigit() and int(length) > MAX_COMMIT_BYTES:
        raise TooBig(
            f"The commit has {int(length) / 2**20:.0f} MiB and {MAX_COMMIT_BYTES // 2**20} MiB are "
            "the most: push the folder in several commits."
        )


def _read_line(line: bytes, number: int) -> tuple[str, dict[str, Any]]:
    """Return a line's operation; the content of a file in base64 as it lies in the line."""
    content = _CONTENT.search(line)
    rest = line if content is None else _cut_out(line, *content.span(1))
    if len(rest) > _MAX_JSON_BYTES:
        message = (
            f"line {number}: it has {len(rest) / 2**20:.0f} MiB beside base64 and "
            f"{_MAX_JSON_BYTES // 2**20} MiB are the most: send a large file's content in base64."
        )
        raise TooBig(message, line=number)
    try:
        body = json.loads(rest)
        key, value = body["key"], body["value"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        message = f'line {number}: write {{"key": ..., "value": {{...}}}}.'
        raise BadInput(message, code="bad_commit", line=number) from error
    if not isinstance(key, str) or not isinstance(value, dict):
        message = f"line {number}: key is a text and value an object."
        raise BadInput(message, code="bad_commit", line=number)
    if content is not None and value.get("content") == "":
        value["content"] = memoryview(line)[slice(*content.span(1))]
    return key, value


def _cut_out(line: bytes, begin: int, end: int) -> bytes:
    return b"".join((memoryview(line)[:begin], memoryview(line)[end:]))


def _read_words(value: dict[str, Any]) -> Words:
    summary, description = value.get("summary"), value.get("description")
    parent = value.get("parentCommit")
    return Words(
        message=_clean(summary),
        description=_clean(description),
        parent_sha=parent if isinstance(parent, str) else "",
    )


def _clean(text: Any) -> str:
    return (
        text.replace("\0", "").encode("utf-8", "ignore").decode() if isinstance(text, str) else ""
    )


class _SmallFiles:
    """Files of a commit that wait to be stored together."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes
        self._waiting: dict[str, bytes] = {}
        self._num_bytes = 0

    def add(self, path: str, content: bytes) -> None:
        """Take a file."""
        self._num_bytes += len(content)
        self._waiting[path] = content
        if self._num_bytes >= _BATCH_BYTES or len(self._waiting) >= _BATCH_FILES:
            self.store()

    def forget(self, path: str) -> None:
        """Leave a file out: another of its path came later."""
        self._num_bytes -= len(self._waiting.pop(path, b""))

    def store(self) -> None:
        """Store what waits."""
        blobs = store_small_blobs([BytesIO(content) for content in self._waiting.values()])
        self._changes.added.update(zip(self._waiting, blobs, strict=True))
        self._waiting, self._num_bytes = {}, 0


_Operation = tuple[str, dict[str, Any], int]


def _take(by: User, changes: Changes, small: _SmallFiles, operation: _Operation) -> None:
    key, value, number = operation
    path = value.get("path")
    if not isinstance(path, str):
        raise BadInput(f"line {number}: path is missing.", field="path", code="bad_commit")
    check_path(path.rstrip("/") if key == "deletedFolder" else path)
    small.forget(path)
    if key == "file":
        content = _decode(value, number)
        if len(content) < LARGE_BYTES:
            small.add(path, content)
        else:
            changes.added[path] = store_blob(source=BytesIO(content))
    elif key == "deletedFile":
        changes.deleted_files.add(path)
    elif key == "deletedFolder":
        changes.deleted_folders.add(path)
    elif key == "lfsFile":
        changes.added[path] = _find_large(by, path, value, number)
    else:
        raise BadInput(f"line {number}: {key[:40]!r} is no operation.", code="bad_commit")


def _find_large(by: User, path: str, value: dict[str, Any], number: int) -> Blob:
    """Return the bytes of a file that came by Xet or LFS before the commit."""
    oid = value.get("oid")
    blob = find_committable(by, oid) if isinstance(oid, str) and "\0" not in oid else None
    if blob is None:
        message = (
            f"line {number}: the bytes of {path} have not arrived; send them, then commit again."
        )
        raise BadInput(message, field="oid", code="not_arrived", path=path)
    return blob


def _decode(value: dict[str, Any], number: int) -> bytes:
    content, encoding = value.get("content"), value.get("encoding", "utf-8")
    if not isinstance(content, str | memoryview):
        raise BadInput(f"line {number}: content is missing.", field="content", code="bad_commit")
    if encoding != "base64":
        return (
            content.encode("utf-8", "surrogatepass") if isinstance(content, str) else bytes(content)
        )
    try:
        data = binascii.a2b_base64(content, strict_mode=True)
    except ValueError as error:
        message = f"line {number}: content is not base64."
        raise BadInput(message, field="content", code="bad_commit") from error
    refuse_large(str(value.get("path")), len(data))
    return data
