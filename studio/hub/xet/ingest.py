"""Makes chunks of what comes whole: LFS uploads, imports, files from the dashboard."""

import hashlib
from collections.abc import Callable
from typing import BinaryIO

from studio.hub.xet.chunking import iter_chunks
from studio.hub.xet.hashes import Chunk, hash_chunk, hash_file, hash_xorb, is_announced, to_text
from studio.hub.xet.models import AnnouncedChunk
from studio.hub.xet.reading import Run, read_index
from studio.hub.xet.services import VerifiedFile, keep_xorb, list_neighbours
from studio.hub.xet.xorbs import MAX_CHUNKS, XorbIndex, pack_chunk

_XORB_BYTES = 64 * 2**20
_NEW = ""  # stands for the xorb that is being filled, which has no name yet


def ingest(source: BinaryIO, *, on_bytes: Callable[[int], None] | None = None) -> VerifiedFile:
    """Store a stream's chunks, those that are not here yet, and return the file they make.

    Raises:
        DiskFull: there is no room for what is new.
    """
    ingestion = _Ingestion()
    digest = hashlib.sha256()
    for chunk in iter_chunks(source):
        digest.update(chunk)
        ingestion.add(chunk)
        if on_bytes:
            on_bytes(len(chunk))
    return ingestion.finish(digest.hexdigest())


class _Ingestion:
    """The xorb that is being filled, and where each chunk of the file lies."""

    def __init__(self) -> None:
        self._index = XorbIndex()
        self._packed: list[bytes] = []
        self._known: dict[bytes, tuple[str, int]] = {}
        self._seen: set[str] = set()
        self._chunks: list[Chunk] = []
        self._places: list[tuple[str, int]] = []

    def add(self, chunk: bytes) -> None:
        value = hash_chunk(chunk)
        if value not in self._known and (not self._chunks or is_announced(value)):
            self._learn(value)
        if value not in self._known:
            self._keep(value, chunk)
        self._chunks.append((value, len(chunk)))
        self._places.append(self._known[value])

    def finish(self, sha256: str) -> VerifiedFile:
        self._flush()
        size_bytes = sum(length for _, length in self._chunks)
        return VerifiedFile(to_text(hash_file(self._chunks)), sha256, size_bytes, self._list_runs())

    def _learn(self, value: bytes) -> None:
        """Take over what the hub knows of a chunk and its neighbours."""
        found = AnnouncedChunk.objects.filter(hash=to_text(value)).first()
        if found is None:
            return
        for name in list_neighbours(found.xorb_id):
            if name not in self._seen:
                self._seen.add(name)
                for number, known in enumerate(read_index(name).hashes):
                    self._known.setdefault(known, (name, number))

    def _keep(self, value: bytes, chunk: bytes) -> None:
        packed = pack_chunk(chunk)
        if self._index.packed_bytes + len(packed) > _XORB_BYTES or len(self._index) >= MAX_CHUNKS:
            self._flush()
        self._known[value] = (_NEW, len(self._index))
        self._index.add(value, packed_bytes=len(packed), unpacked_bytes=len(chunk))
        self._packed.append(packed)

    def _flush(self) -> None:
        if not len(self._index):
            return
        name = to_text(hash_xorb(self._index.list_chunks()))
        keep_xorb(name=name, chunks=b"".join(self._packed), index=self._index)
        for number, value in enumerate(self._index.hashes):
            self._known[value] = (name, number)
        self._places = [(name if xorb == _NEW else xorb, at) for xorb, at in self._places]
        self._index, self._packed = XorbIndex(), []

    def _list_runs(self) -> list[Run]:
        runs: list[Run] = []
        for (xorb, at), (_, length) in zip(self._places, self._chunks, strict=True):
            last = runs[-1] if runs else None
            if last is not None and (last.xorb, last.end) == (xorb, at):
                runs[-1] = Run(xorb, last.start, at + 1, last.unpacked_bytes + length)
            else:
                runs.append(Run(xorb, at, at + 1, length))
        return runs
