"""Brings the files of a source within reach: fetched to a folder, or open in the drive."""

import hashlib
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import httpx
from django.conf import settings

from studio.core.errors import BadInput
from studio.drive.folders import open_file, stat_at, walk
from studio.drive.spaces import open_space
from studio.hub.models import Kind
from studio.hub.names import check_path
from studio.hub.remote import (
    RemoteFile,
    Source,
    SourceFault,
    check_answer,
    fetch_files,
    list_remote_files,
    open_client,
)
from studio.hub.services import MOST_FILES
from studio.hub.storage import check_room
from studio.importing.addresses import GuardedTransport
from studio.importing.folders import folder_of
from studio.importing.gguf import check_magic
from studio.importing.models import Import, ImportState
from studio.importing.progress import Progress
from studio.importing.sources import DrivePlace, GgufAddress, Place

_STRONG_ETAG = re.compile(r'"[^"]{1,200}"')


@dataclass(frozen=True)
class Piece:
    """One file of a source, within reach."""

    path: str
    size_bytes: int
    open: Callable[[], BinaryIO]


@contextmanager
def gather(item: Import, place: Place, token: str, progress: Progress) -> Iterator[list[Piece]]:
    """Give the files of a source, which are within reach as long as the block lasts.

    Raises:
        SourceFault, BadInput: the source is away, or is not what it should be.
        DiskFull: it does not fit.
        Cancelled, Lost: it is to end.
        OSError: a thing of the drive is not there.
    """
    if isinstance(place, DrivePlace):
        with open_space(item.owner) as space:
            pieces = _list_drive(space.home, place)
            _check(pieces, num_bytes_here=sum(piece.size_bytes for piece in pieces))
            yield pieces
    elif isinstance(place, GgufAddress):
        source = _as_source(place, token)
        file, mark = _look_at_gguf(source, place)
        yield _fetch(item, source, [file], folder_of(item.pk) / mark, progress)
    else:
        found = list_remote_files(place, transport=GuardedTransport())
        files = [file for file in found if not _is_hidden(file.path)]
        yield _fetch(item, place, files, folder_of(item.pk), progress)


def _fetch(
    item: Import, source: Source, files: list[RemoteFile], folder: Path, progress: Progress
) -> list[Piece]:
    here = [folder / file.path for file in files]
    pieces = [
        Piece(file.path, file.size_bytes, partial(_open_here, path))
        for file, path in zip(files, here, strict=True)
    ]
    _check(pieces, num_bytes_here=sum(path.stat().st_size for path in here if path.is_file()))
    num_bytes = sum(piece.size_bytes for piece in pieces)
    progress.begin(ImportState.FETCHING, num_files=len(files), num_bytes=num_bytes)
    fetch_files(source, files, progress.advance, folder=folder, transport=GuardedTransport())
    progress.finish(len(files))
    return pieces


def _open_here(path: Path) -> BinaryIO:
    return path.open("rb")


def _check(pieces: list[Piece], *, num_bytes_here: int) -> None:
    """Refuse before the first byte what could not become a repo here."""
    if not pieces:
        raise BadInput("source: it holds no files.", field="source", code="source_empty")
    if len(pieces) > MOST_FILES:
        message = f"source: it holds {len(pieces)} files and a repo {MOST_FILES} at most."
        raise BadInput(message, field="source", code="too_many_files", most=MOST_FILES)
    total = sum(piece.size_bytes for piece in pieces)
    # It is fetched beside the hub's store before it is stored.
    check_room(max(0, total - num_bytes_here) + (0 if settings.HUB_S3 else total))


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _list_drive(home: int, place: DrivePlace) -> list[Piece]:
    if place.is_gguf:
        info = stat_at(home, place.parts)
        path = check_path(place.parts[-1], field="source")
        return [Piece(path, info.st_size, partial(open_file, home, place.parts))]
    pieces = []
    for found in walk(home, place.parts):
        path = "/".join(found.parts[len(place.parts) :])
        if _is_hidden(path) or not stat.S_ISREG(found.info.st_mode):
            continue
        check_path(path, field="source")
        pieces.append(Piece(path, found.info.st_size, partial(open_file, home, found.parts)))
        if len(pieces) > MOST_FILES:
            break
    return sorted(pieces, key=lambda piece: piece.path)


def _as_source(place: GgufAddress, token: str) -> Source:
    parts = urlsplit(place.url)
    endpoint = f"{parts.scheme}://{parts.netloc}"
    return Source("hf", endpoint, Kind.MODEL, "", "", token)


def _look_at_gguf(source: Source, place: GgufAddress) -> tuple[RemoteFile, str]:
    """Return the file, and a mark that is another whenever its bytes may be."""
    check_path(place.name, field="source")
    with open_client(source, GuardedTransport()) as client:
        try:
            with client.stream("GET", place.url) as answer:
                check_answer(answer)
                first = _read_first(answer)
                size = answer.headers.get("Content-Length", "")
                etag = answer.headers.get("ETag", "")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceFault(
                f"source: {source.endpoint} cannot be reached: {error}.", field="source"
            ) from error
    check_magic(first)
    if not size.isdigit():
        raise SourceFault(f"source: {source.endpoint} does not say how large it is.")
    is_known = _STRONG_ETAG.fullmatch(etag)
    told = f"{place.url} {size} {etag if is_known else secrets.token_hex()}"
    mark = hashlib.sha256(told.encode()).hexdigest()[:32]
    return RemoteFile(place.name, place.url, int(size)), mark


def _read_first(answer: httpx.Response) -> bytes:
    first = b""
    for piece in answer.iter_bytes():
        first += piece
        if len(first) >= 4:
            break
    return first
