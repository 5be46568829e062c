"""Uploads by tus 1.0.0: a draft that grows on disk, then one rename into the home.

How far an upload is says the draft's length and nothing else, so a studio that is killed in the
middle of a piece knows after it exactly what it has. Each upload has a draft of its own: two pages
that send the same name never write into one file.
"""

import base64
import binascii
import errno
import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from studio.accounts.models import User
from studio.core.audit import record
from studio.core.errors import BadInput, Conflict, NotFound, StudioError
from studio.core.inputs import Readable
from studio.drive.errors import DriveFull
from studio.drive.folders import create_file, move_beside, open_parent
from studio.drive.models import UPLOADS_LAST, Upload
from studio.drive.names import parse_path, show_path
from studio.drive.services import trash_for
from studio.drive.spaces import Space, check_room, note_use, open_space

CHECKSUMS = ("sha1", "sha256", "md5")
_PIECE_BYTES = 2**20
_MOST_METADATA = 16_384


class BadUpload(BadInput):
    """A header of tus that cannot be read."""

    code = "bad_upload"


class UploadBusy(StudioError):
    """Another connection writes to it."""

    code = "upload_busy"
    status = 423


class UploadGone(StudioError):
    """It was ended or has expired."""

    code = "upload_gone"
    status = 410


class BadChecksum(StudioError):
    """The bytes are not those that were sent."""

    code = "bad_checksum"
    status = 460


@dataclass(frozen=True)
class Checksum:
    """What a piece's bytes must hash to."""

    algorithm: str
    digest: bytes


def create_upload(*, by: User, size_bytes: int, metadata: str) -> Upload:
    """Begin an upload of a known size.

    Raises:
        BadUpload: its metadata cannot be read, or names no file.
        DriveFull: it does not fit.
    """
    said = read_metadata(metadata)
    path = _target_of(said)
    check_room(by, size_bytes)
    upload = Upload.objects.create(
        user=by,
        path=path,
        size_bytes=size_bytes,
        metadata=metadata,
        is_replacing=said.get("on_clash") == "replace",
        expires_at=timezone.now() + UPLOADS_LAST,
    )
    with open_space(by) as space:
        os.close(create_file(space.drafts, str(upload.pk)))
    if size_bytes == 0:
        _place(by, upload)
    return upload


def get_upload(user: User, upload_id: uuid.UUID) -> tuple[Upload, int]:
    """Return an upload and how many of its bytes are on disk.

    Raises:
        NotFound: it is not this person's, or there is none.
        UploadGone: it has expired.
    """
    upload = Upload.objects.filter(user=user, pk=upload_id).first()
    if upload is None:
        raise NotFound
    if upload.placed_at:
        return upload, upload.size_bytes
    if upload.expires_at <= timezone.now():
        raise UploadGone("This upload has expired: start it again.")
    with open_space(user) as space:
        try:
            size = os.stat(str(upload.pk), dir_fd=space.drafts, follow_symlinks=False).st_size
        except FileNotFoundError:
            # Only the last rename takes a draft away: the studio ended before it could note that.
            return upload, upload.size_bytes
        if size >= upload.size_bytes:  # complete, and the studio ended before the rename
            with suppress(UploadBusy, UploadGone), _lock_draft(space, upload):
                _place(user, upload)
    return upload, min(size, upload.size_bytes)


def receive(
    *, by: User, upload: Upload, offset: int, body: Readable, checksum: Checksum | None = None
) -> int:
    """Append a piece and return how far the upload is now; the last piece puts the file in place.

    What came before a cut stays. Only a piece that fails its checksum is taken back.

    Raises:
        Conflict: the offset is not where the draft ends.
        UploadBusy: another connection still writes.
        BadChecksum: the bytes are not those that were sent.
        DriveFull: the disk takes no more.
    """
    if upload.placed_at:
        if offset == upload.size_bytes:
            return offset
        raise _wrong_offset(upload.size_bytes)
    with open_space(by) as space, _lock_draft(space, upload) as fd:
        size = os.fstat(fd).st_size
        if offset != size:
            raise _wrong_offset(size)
        try:
            size = _append(fd, upload, size, body, checksum)
        finally:
            os.fdatasync(fd)
            note_use(by, os.fstat(fd).st_size - offset)
        if size == upload.size_bytes:
            _place(by, upload)
    Upload.objects.filter(pk=upload.pk).update(expires_at=timezone.now() + UPLOADS_LAST)
    return size


def end_upload(*, by: User, upload: Upload) -> None:
    """Give an upload up; a file that is in place already stays."""
    with open_space(by) as space, suppress(FileNotFoundError):
        os.unlink(str(upload.pk), dir_fd=space.drafts)
    upload.delete()
    record("drive.upload_ended", actor=by, subject=upload.path)


def read_metadata(header: str) -> dict[str, str]:
    """Return the pairs of an Upload-Metadata header.

    Raises:
        BadUpload: it is not pairs of a word and Base64 of UTF-8.
    """
    if len(header) > _MOST_METADATA:
        raise BadUpload("Upload-Metadata: it is too long.", field="Upload-Metadata")
    said: dict[str, str] = {}
    for pair in filter(None, (pair.strip() for pair in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            said[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError, ValueError) as error:
            raise BadUpload(
                f"Upload-Metadata: {key[:40]} is not Base64 of UTF-8.", field="Upload-Metadata"
            ) from error
    return said


def read_checksum(header: str) -> Checksum | None:
    """Return what an Upload-Checksum header says; None where there is none.

    Raises:
        BadUpload: it cannot be read, or its algorithm is not known here.
    """
    if not header:
        return None
    algorithm, _, value = header.partition(" ")
    try:
        digest = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadUpload(
            "Upload-Checksum: its value is not Base64.", field="Upload-Checksum"
        ) from error
    if algorithm not in CHECKSUMS:
        raise BadUpload(
            f"Upload-Checksum: use one of {', '.join(CHECKSUMS)}.", field="Upload-Checksum"
        )
    return Checksum(algorithm, digest)


def end_expired_uploads() -> int:
    """End what nobody has sent anything to for a week; return how many."""
    expired = Upload.objects.filter(expires_at__lte=timezone.now()).select_related("user")
    num = 0
    for upload in expired.iterator(chunk_size=100):
        end_upload(by=upload.user, upload=upload)
        num += 1
    return num


def _target_of(said: dict[str, str]) -> str:
    """Return where a file is to lie: `folder`, then `relativePath` or `filename`."""
    name = said.get("relativePath") or said.get("filename") or said.get("name") or ""
    if name == "null":  # what some browsers' clients send for a file that has no folder
        name = said.get("filename") or said.get("name") or ""
    if not name:
        raise BadUpload("Upload-Metadata: name the file as `filename`.", field="Upload-Metadata")
    folder = said.get("folder", "").strip("/")
    path = f"{folder}/{name}" if folder else name
    return show_path(parse_path(path, field="filename", is_new=True))


@contextmanager
def _lock_draft(space: Space, upload: Upload) -> Iterator[int]:
    try:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(str(upload.pk), flags, dir_fd=space.drafts)
    except FileNotFoundError as error:
        raise UploadGone("This upload was ended: start it again.") from error
    try:
        try:
            # Goes with the process: a killed studio leaves no lock behind.
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UploadBusy("Another connection still sends this file: try again.") from error
        yield fd
    finally:
        os.close(fd)


def _append(fd: int, upload: Upload, size: int, body: Readable, checksum: Checksum | None) -> int:
    begun = size
    digest: Any = hashlib.new(checksum.algorithm, usedforsecurity=False) if checksum else None
    try:
        while size < upload.size_bytes:
            piece = body.read(min(_PIECE_BYTES, upload.size_bytes - size))
            if not piece:
                break
            if digest:
                digest.update(piece)
            view = memoryview(piece)
            while view:
                num = os.pwrite(fd, view, size)
                size += num
                view = view[num:]
        if size == upload.size_bytes and body.read(1):
            raise BadUpload("The body goes on after the end of the upload.")
    except OSError as error:
        if checksum:
            os.ftruncate(fd, begun)
        if error.errno in {errno.EDQUOT, errno.ENOSPC, errno.EFBIG}:
            raise DriveFull() from error
        raise
    if checksum and digest.digest() != checksum.digest:
        os.ftruncate(fd, begun)
        raise BadChecksum("The bytes are not those of Upload-Checksum: send the piece again.")
    return size


def _place(by: User, upload: Upload) -> None:
    """Rename the whole draft into the home; a name that is taken gets a number, or is replaced."""
    parts = parse_path(upload.path)
    with open_space(by) as space, open_parent(space.home, parts, make=True) as (folder, name):
        if upload.is_replacing:
            with suppress(FileNotFoundError):
                trash_for(by, space, parts)
        placed = move_beside(space.drafts, str(upload.pk), folder, name)
        os.fsync(folder)
    upload.path, upload.placed_at = show_path([*parts[:-1], placed]), timezone.now()
    upload.save(update_fields=["path", "placed_at"])
    record("drive.uploaded", actor=by, subject=upload.path, size_bytes=upload.size_bytes)


def _wrong_offset(size: int) -> Conflict:
    return Conflict(
        f"Upload-Offset: the studio has {size} bytes of it; go on from there.",
        field="Upload-Offset",
        code="wrong_offset",
        offset=size,
    )
