"""Large files as Git LFS clients send them: in one request or in parts, each by a signed address.

Source: the Git LFS specification, "Batch API"; parts as Hugging Face's Hub has them.

What arrives waits in a folder of this machine until it is all there; then it becomes chunks.
"""

import hashlib
import hmac
import io
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.core import signing

from studio.accounts.models import User
from studio.core.errors import BadInput, Conflict, StudioError
from studio.hub.access import readable_by
from studio.hub.blobs import LARGE_BYTES
from studio.hub.models import Blob, BlobClaim, CommitFile, Repo
from studio.hub.storage import check_room, sync_file
from studio.hub.xet.ingest import ingest
from studio.hub.xet.services import register_file

# The kinds that Hugging Face's Hub keeps out of git in every new repo.
_BINARY = (
    *(".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip", ".zst"),
    *(".arrow", ".h5", ".msgpack", ".npy", ".npz", ".parquet", ".pickle", ".pkl"),
    *(".bin", ".ckpt", ".ftz", ".gguf", ".joblib", ".mlmodel", ".model", ".onnx", ".ot", ".pb"),
    *(".pt", ".pth", ".safetensors", ".tflite", ".wasm"),
    *(".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tiff", ".webp"),
    *(".aac", ".flac", ".mp3", ".ogg", ".pcm", ".wav", ".avi", ".mkv", ".mp4", ".webm"),
)
PART_BYTES = 64 * 2**20
"""The most that comes in one request."""
_PIECE_BYTES = 2**20
_SALT = "hub.lfs"
_URL_S = 24 * 3600
_LARGE = 2**40


def goes_before_commit(path: str, size_bytes: int) -> bool:
    """Say whether a file is sent by Xet or LFS, before the commit that names it.

    Large ones are; and of binary kinds small ones too, as on Hugging Face's Hub: some clients
    delete such a file once it is sent, and could not put it into the commit any more.
    """
    name = path.rpartition("/")[2].lower()
    return size_bytes > 0 and (size_bytes >= LARGE_BYTES or name.endswith(_BINARY))


class BadUpload(StudioError):
    """The address is none of ours, or has expired."""

    code = "bad_upload"
    status = 403


@dataclass(frozen=True)
class Upload:
    """A file that somebody was told to send: `part` is 0 for the whole, else counts from 1."""

    user_id: int
    oid: str
    size_bytes: int
    part: int
    expires_at: int

    @property
    def num_parts(self) -> int:
        """Return in how many parts it comes."""
        return max(1, -(-self.size_bytes // PART_BYTES))

    def measure_part(self) -> int:
        """Return how many bytes this part has."""
        number = max(self.part, 1)
        return min(PART_BYTES, self.size_bytes - (number - 1) * PART_BYTES)


def find_committable(by: User, oid: str) -> Blob | None:
    """Return the bytes of this SHA-256 if the person has sent them or may read them somewhere."""
    blob = Blob.objects.filter(sha256=oid).first()
    if blob is None:
        return None
    if BlobClaim.objects.filter(user=by, blob=blob).exists():
        return blob
    repos = Repo.objects.filter(readable_by(by)).values("pk")
    seen = CommitFile.objects.filter(blob=blob, commit__repo__in=repos)
    return blob if seen.exists() else None


def plan_upload(*, by: User, oid: str, size_bytes: int) -> Upload | None:
    """Return what to send; None if the person may commit these bytes already.

    Raises:
        BadInput: it is no SHA-256, or no size.
        DiskFull: there is no room.
    """
    if len(oid) != 64 or not set(oid) <= set("0123456789abcdef"):
        message = f"oid: {oid[:80]!r} is not a SHA-256 of 64 lower-case hex digits."
        raise BadInput(message, field="oid", code="bad_oid")
    if not 0 < size_bytes <= _LARGE:
        message = f"size: {size_bytes} is no size of a large file; send an empty one in the commit."
        raise BadInput(message, field="size", code="bad_size")
    if find_committable(by, oid):
        return None
    check_room(2 * size_bytes)  # as it arrives, and as chunks
    return Upload(by.pk, oid, size_bytes, 0, int(time.time()) + _URL_S)


def sign_upload(upload: Upload) -> str:
    """Return the word of an address by which a part of it is sent."""
    return signing.dumps(asdict(upload), salt=_SALT)


def read_upload(word: str) -> Upload:
    """Return what an address is for.

    Raises:
        BadUpload: it is none of ours, or has expired.
    """
    try:
        upload = Upload(**signing.loads(word, salt=_SALT))
    except (signing.BadSignature, TypeError) as error:
        raise BadUpload("This is no upload address of this hub: ask for a new one.") from error
    if upload.expires_at < time.time():
        raise BadUpload("The upload address has expired: ask for a new one.")
    return upload


def receive_part(upload: Upload, stream: Any) -> str:
    """Keep a part, and return its tag; the same part again takes the place of the first.

    Raises:
        BadInput: it has more or fewer bytes than it should.
    """
    path = _part_path(upload)
    path.parent.mkdir(parents=True, exist_ok=True)
    arriving = path.with_suffix(f".{os.getpid()}-{time.monotonic_ns()}")
    digest, wanted = hashlib.sha256(), upload.measure_part()
    try:
        with arriving.open("wb") as file:
            while piece := stream.read(_PIECE_BYTES):
                digest.update(piece)
                file.write(piece)
                if file.tell() > wanted:
                    break
            num_bytes = file.tell()
            sync_file(file)
        if num_bytes != wanted:
            message = f"part {upload.part}: it should have {wanted} bytes, and {num_bytes} came."
            raise BadInput(message, field="part", code="bad_part", wanted=wanted)
        arriving.replace(path)
    finally:
        arriving.unlink(missing_ok=True)
    return digest.hexdigest()


def complete_upload(upload: Upload) -> Blob:
    """Make the file of its parts, once all are there and it is the one that was meant.

    Raises:
        Conflict: a part is missing; the sentence says which.
        BadInput: it has another SHA-256; what came is dropped, so that it can be sent again.
    """
    by = User.objects.get(pk=upload.user_id)
    known = find_committable(by, upload.oid)
    if known is not None:
        return known
    paths = {number: _part_path(upload, number) for number in range(1, upload.num_parts + 1)}
    missing = [number for number, path in paths.items() if not path.exists()]
    if missing:
        message = f"part {missing[0]}: it has not arrived; send it and complete again."
        raise Conflict(message, field="parts", code="part_missing", missing=missing[:100])
    with _Joined(list(paths.values())) as source:
        file = ingest(io.BufferedReader(source, buffer_size=_PIECE_BYTES))
    folder = _part_path(upload).parent
    if file.sha256 != upload.oid:
        shutil.rmtree(folder, ignore_errors=True)
        message = f"oid: the bytes that came have the SHA-256 {file.sha256}; send the file again."
        raise BadInput(message, field="oid", code="bad_oid", sha256=file.sha256)
    blob = register_file(by=by, file=file)
    shutil.rmtree(folder, ignore_errors=True)
    return blob


def waiting_folder() -> Path:
    """Return the folder of uploads that are on their way in."""
    return Path(settings.HUB_DIR) / "lfs"


def _part_path(upload: Upload, number: int | None = None) -> Path:
    """One person's parts are not another's, though the file be the same."""
    text = f"{upload.user_id}:{upload.oid}:{upload.size_bytes}".encode()
    name = hmac.new(settings.SECRET_KEY.encode(), text, hashlib.sha256).hexdigest()[:32]
    return waiting_folder() / name / f"{number or max(upload.part, 1):05d}"


class _Joined(io.RawIOBase):
    """Files one after the other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = list(paths)
        self._file: BinaryIO | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._file is None:
                if not self._paths:
                    return 0
                self._file = self._paths.pop(0).open("rb")
            if count := self._file.readinto(buffer):  # type: ignore[attr-defined]
                return int(count)
            self._file.close()
            self._file = None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        super().close()
