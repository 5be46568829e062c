"""A bucket of an S3-compatible storage as the hub's `ObjectStore`.

Objects come from this machine's staging folder, so a broken upload leaves nothing under a name.
"""

import io
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from studio.hub.storage import Shelf, StoredObject

_AWAY = {"404", "NoSuchKey", "NotFound"}
_BUFFER_BYTES = 2**20
_UPLOADS_AT_ONCE = 16
# Every byte is hashed by the hub itself; some storages know none of S3's newer checksums.
_CONFIG = Config(
    max_pool_connections=_UPLOADS_AT_ONCE,
    retries={"max_attempts": 5, "mode": "standard"},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


class S3Objects:
    """Objects under `<prefix><shelf>/ab/cd/<name>` of a bucket."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        """Use a client of boto3's."""
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def place(self, name: str, staged: Path) -> None:
        """Upload a staged file, unless the object is there already, and drop the copy."""
        if self._measure(name) != staged.stat().st_size:
            self._client.upload_file(str(staged), self._bucket, self._key(name))
        staged.unlink(missing_ok=True)

    def place_many(self, staged: Mapping[str, Path]) -> None:
        """Upload many staged files, several at a time."""
        with ThreadPoolExecutor(_UPLOADS_AT_ONCE) as pool:
            list(pool.map(self.place, staged.keys(), staged.values()))

    def exists(self, name: str) -> bool:
        """Say whether an object is there."""
        return self._measure(name) is not None

    def open(self, name: str) -> BinaryIO:
        """Open an object for reading; it seeks, and what is read is fetched.

        Raises:
            FileNotFoundError: it is not there.
        """
        size_bytes = self._measure(name)
        if size_bytes is None:
            raise FileNotFoundError(name)
        raw = _RangeReader(self, name, size_bytes)
        return io.BufferedReader(raw, buffer_size=_BUFFER_BYTES)

    def read(self, name: str, start: int, length: int) -> bytes:
        """Return that many bytes from `start`; from the end where `start` is negative.

        Raises:
            FileNotFoundError: it is not there.
        """
        size_bytes = self._measure(name)
        if size_bytes is None:
            raise FileNotFoundError(name)
        begin = max(size_bytes + start, 0) if start < 0 else start
        end = min(begin + length, size_bytes)
        return self._fetch(name, begin, end) if begin < end else b""

    def delete(self, name: str) -> None:
        """Remove an object; what is not there stays so."""
        self._client.delete_object(Bucket=self._bucket, Key=self._key(name))

    def list_objects(self) -> Iterator[StoredObject]:
        """Yield all that is there."""
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
            for entry in page.get("Contents", []):
                yield StoredObject(entry["Key"].rpartition("/")[2], entry["LastModified"])

    def find_path(self, name: str) -> Path | None:
        """Return None: it is no file of this machine."""
        return None

    def _fetch(self, name: str, begin: int, end: int) -> bytes:
        """Not every storage takes a range that goes over the end, or counts from it."""
        wanted = f"bytes={begin}-{end - 1}"
        answer = self._client.get_object(Bucket=self._bucket, Key=self._key(name), Range=wanted)
        return bytes(answer["Body"].read())

    def _measure(self, name: str) -> int | None:
        try:
            head = self._client.head_object(Bucket=self._bucket, Key=self._key(name))
        except ClientError as error:
            if _code(error) in _AWAY:
                return None
            raise
        return int(head["ContentLength"])

    def _key(self, name: str) -> str:
        assert len(name) == 64 and name.isalnum(), "an object's name is a hash"
        return f"{self._prefix}{name[:2]}/{name[2:4]}/{name}"


class _RangeReader(io.RawIOBase):
    """Reads an object by ranges."""

    def __init__(self, store: S3Objects, name: str, size_bytes: int) -> None:
        self._store, self._name, self._size_bytes = store, name, size_bytes
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._size_bytes - self._at)
        if length <= 0:
            return 0
        data = self._store._fetch(self._name, self._at, self._at + length)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


@cache
def open_bucket(
    shelf: Shelf, *, bucket: str, endpoint: str, region: str, key_id: str, secret: str, prefix: str
) -> S3Objects:
    """Return a shelf of a bucket; empty settings are left to boto3's own sources."""
    client = boto3.client(
        "s3",
        endpoint_url=endpoint or None,
        region_name=region or None,
        aws_access_key_id=key_id or None,
        aws_secret_access_key=secret or None,
        config=_CONFIG,
    )
    return S3Objects(client, bucket, f"{prefix}{shelf}/")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
