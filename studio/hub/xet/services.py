"""What may be done with chunks: store a xorb, make files of them, tell what is there.

Nothing that a client says is believed before the hub has computed it from the bytes themselves.
"""

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from studio.accounts.models import User
from studio.core.errors import BadInput, Unavailable
from studio.hub.models import Blob, BlobClaim
from studio.hub.storage import check_room, get_store, new_staged, sync_file
from studio.hub.xet.hashes import from_text, hash_file, hash_term, is_announced, to_text
from studio.hub.xet.models import AnnouncedChunk, XetFile, XetFileXorb, Xorb
from studio.hub.xet.reading import Run, append_index, iter_pieces, read_index
from studio.hub.xet.shards import BadShard, FileInfo, KnownXorb, read_files, write_known_xorbs
from studio.hub.xet.xorbs import BadXorb, XorbIndex, read_xorb

KEPT_DAYS = 22
"""Clients keep what they know of xorbs for three weeks and then refer to it: so long all stay."""
_TOLD_XORBS = 64  # one answer to a question for a chunk: 4 GiB of neighbours at most
_TOLD_S = 7 * 24 * 3600
_MANY = 500
Progress = Callable[[int, int], None]
"""Is told how many bytes of how many have been verified."""


@dataclass(frozen=True)
class VerifiedFile:
    """A file whose every hash the hub has computed."""

    hash: str
    sha256: str
    size_bytes: int
    runs: list[Run]


def store_xorb(*, name: str, data: bytes) -> bool:
    """Keep a xorb that a client sent; return whether it was new.

    Raises:
        BadInput: its bytes are no xorb, or another than its name says.
        DiskFull: there is no room.
    """
    try:
        index = read_xorb(data, wanted=from_text(name))
    except (BadXorb, ValueError) as error:
        raise BadInput(f"xorb: {error}.", field="xorb", code="bad_xorb") from error
    is_known = Xorb.objects.filter(hash=name).update(stored_at=timezone.now())
    if is_known and get_store("xorbs").exists(name):
        return False
    keep_xorb(name=name, chunks=memoryview(data)[: index.packed_bytes], index=index)
    return True


def keep_xorb(*, name: str, chunks: bytes | memoryview, index: XorbIndex) -> None:
    """Put a verified xorb into the storage, and its chunks where clients find them."""
    check_room(len(chunks))
    staged = new_staged()
    try:
        with staged.open("wb") as file:
            file.write(chunks)
            size_bytes = len(chunks) + file.write(append_index(index))
            sync_file(file)
        with transaction.atomic():
            xorb, _ = Xorb.objects.select_for_update().update_or_create(
                hash=name, defaults={"size_bytes": size_bytes, "stored_at": timezone.now()}
            )
            announced = {value for value in index.hashes if is_announced(value)}
            _announce(xorb, announced | {index.hashes[0]})
            get_store("xorbs").place(name, staged)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise


def register_shard(*, by: User, data: bytes, on_progress: Progress | None = None) -> int:
    """Make files of chunks that are here, as a client's shard says; return how many files.

    Raises:
        BadInput: it is no shard, a xorb is missing, or a hash is not what the chunks have.
    """
    try:
        infos = read_files(data)
        planned = [_check_terms(info) for info in infos]
        total = sum(run.unpacked_bytes for runs in planned for run in runs)
        done = 0
        files = []
        for info, runs in zip(infos, planned, strict=True):
            done = _check_sha256(info, runs, done, total, on_progress)
            size_bytes = sum(run.unpacked_bytes for run in runs)
            files.append(VerifiedFile(to_text(info.hash), info.sha256, size_bytes, runs))
    except BadShard as error:
        raise BadInput(f"shard: {error}.", field="shard", code="bad_shard") from error
    for file in files:
        register_file(by=by, file=file)
    return len(files)


@transaction.atomic
def register_file(*, by: User | None, file: VerifiedFile) -> Blob:
    """Make a verified file one that commits may name; `by` may commit it, as may its readers.

    Raises:
        Unavailable: a sweep took a xorb of it meanwhile; send it again.
    """
    names = sorted({run.xorb for run in file.runs})
    locked = list(Xorb.objects.select_for_update().filter(hash__in=names).order_by("hash"))
    if len(locked) != len(names):
        raise Unavailable("A part of the file was swept away meanwhile: send it again.")
    Xorb.objects.filter(hash__in=names).update(stored_at=timezone.now())
    place_of = {name: place for place, name in enumerate(names)}
    terms = [[place_of[run.xorb], run.start, run.end, run.unpacked_bytes] for run in file.runs]
    xet, made = XetFile.objects.select_for_update().get_or_create(
        hash=file.hash,
        defaults={"size_bytes": file.size_bytes, "xorb_hashes": names, "terms": terms},
    )
    if made:
        links = [XetFileXorb(file=xet, xorb_id=name) for name in names]
        XetFileXorb.objects.bulk_create(links, batch_size=_MANY)
        first = file.runs[0]
        _announce(locked[place_of[first.xorb]], {read_index(first.xorb).hashes[first.start]})
    blob, _ = Blob.objects.update_or_create(
        sha256=file.sha256,
        defaults={
            "git_oid": pointer_oid(file.sha256, file.size_bytes),
            "size_bytes": file.size_bytes,
            "stored_at": timezone.now(),
            "xet": xet,
        },
    )
    if by is not None:
        BlobClaim.objects.update_or_create(
            user=by, blob=blob, defaults={"claimed_at": timezone.now()}
        )
    return blob


def tell_known_xorbs(chunk: str) -> bytes | None:
    """Return a shard of the xorb that has a chunk, and of those beside it; None where none has it.

    The hashes in it are hidden, so only who has a chunk learns where it lies.
    """
    found = AnnouncedChunk.objects.filter(hash=chunk).first()
    if found is None:
        return None
    names = list_neighbours(found.xorb_id)
    # What a client is told of, it may refer to for as long as it remembers.
    Xorb.objects.filter(hash__in=names).update(stored_at=timezone.now())
    now = int(time.time())
    xorbs = [KnownXorb(from_text(name), read_index(name)) for name in names]
    key = secrets.token_bytes(32)
    return write_known_xorbs(xorbs, key=key, made_at=now, expires_at=now + _TOLD_S)


def list_neighbours(xorb: str) -> list[str]:
    """Return a xorb and others of the files it is part of: who has the one often has the others."""
    files = XetFileXorb.objects.filter(xorb_id=xorb).values("file_id")
    others = (
        XetFileXorb.objects.filter(file_id__in=files)
        .exclude(xorb_id=xorb)
        .order_by("-pk")
        .values_list("xorb_id", flat=True)
    )
    return [xorb, *dict.fromkeys(others[: _TOLD_XORBS - 1])]


def pointer_oid(sha256: str, size_bytes: int) -> str:
    """Return git's id of the pointer that stands for a large file in a repo."""
    text = pointer_text(sha256, size_bytes)
    head = b"blob %d\0" % len(text)
    return hashlib.sha1(head + text, usedforsecurity=False).hexdigest()


def pointer_text(sha256: str, size_bytes: int) -> bytes:
    """Return the pointer that stands for a large file in git (Git LFS specification, "Pointer")."""
    lines = ["version https://git-lfs.github.com/spec/v1", f"oid sha256:{sha256}"]
    return "".join(f"{line}\n" for line in [*lines, f"size {size_bytes}"]).encode()


def _announce(xorb: Xorb, hashes: set[bytes]) -> None:
    rows = [AnnouncedChunk(hash=to_text(value), xorb=xorb) for value in sorted(hashes)]
    AnnouncedChunk.objects.bulk_create(rows, ignore_conflicts=True)


def _check_terms(info: FileInfo) -> list[Run]:
    """Return a file's runs, once they are there, are the client's to use, and have its hash."""
    if not info.terms:
        raise BadShard("a file of it has no terms")
    runs = []
    chunks = []
    for number, term in enumerate(info.terms):
        name = to_text(term.xorb)
        try:
            index = read_index(name)
        except FileNotFoundError:
            raise BadShard(f"term {number}: xorb {name} is not here; upload it first") from None
        if not term.start < term.end <= len(index):
            raise BadShard(f"term {number}: xorb {name} has {len(index)} chunks")
        begin, end = index.unpacked_range(term.start, term.end)
        if end - begin != term.unpacked_bytes:
            raise BadShard(f"term {number}: its chunks have {end - begin} bytes")
        if hash_term(index.hashes[term.start : term.end]) != term.proof:
            raise BadShard(f"term {number}: its verification entry is not that of its chunks")
        chunks += index.list_chunks(term.start, term.end)
        runs.append(Run(name, term.start, term.end, term.unpacked_bytes))
    if hash_file(chunks) != info.hash:
        raise BadShard(f"file {to_text(info.hash)}: its chunks have another hash")
    return runs


def _check_sha256(
    info: FileInfo, runs: Sequence[Run], done: int, total: int, on_progress: Progress | None
) -> int:
    digest = hashlib.sha256()
    for piece in iter_pieces(runs):
        digest.update(piece)
        done += len(piece)
        if on_progress:
            on_progress(done, total)
    if digest.hexdigest() != info.sha256:
        raise BadShard(f"file {to_text(info.hash)}: its SHA-256 is {digest.hexdigest()}")
    return done
