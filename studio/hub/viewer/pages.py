"""The headers of a Parquet column's pages: how large each claims to be, before it is unpacked.

Formats: https://parquet.apache.org/docs/file-format/data-pages/ and Thrift's compact protocol. What
unpacks a page takes as much memory as its header says; a file of a few kilobytes can say gigabytes.
"""

from dataclasses import dataclass
from typing import Any, Protocol

_HEADS = (256, 2**16)  # as many bytes of a header are read at first, and then
_DEEPEST = 8
_DICTIONARY_PAGE = 2
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)

Fields = dict[int, Any]


class BadPage(ValueError):
    """A page's header cannot be read, or claims what cannot be."""


class Seekable(Protocol):
    """What headers are read from."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go there."""

    def read(self, size: int = -1, /) -> bytes | None:
        """Return so many bytes, or as many as are left."""


@dataclass(frozen=True)
class PageHeader:
    """One page: where its bytes begin, how many there are, and how many they become."""

    data_start: int
    stored_bytes: int
    unpacked_bytes: int
    num_values: int
    """Of a dictionary, none: it holds no rows."""


class ColumnPages:
    """The pages of one column of one row group, looked at as far as rows are read."""

    def __init__(self, file: Seekable, chunk: Any, *, is_flat: bool) -> None:
        """Begin at the first page of a chunk as pyarrow describes it.

        Of a column of lists a page has more values than rows: all pages are looked at.
        """
        starts = [chunk.data_page_offset]
        if chunk.has_dictionary_page and chunk.dictionary_page_offset:
            starts.append(chunk.dictionary_page_offset)
        self._file, self._is_flat = file, is_flat
        self._at = min(starts)
        self._end = self._at + chunk.total_compressed_size
        self._num_rows = 0

    def look_ahead(self, num_rows: int, most_bytes: int) -> None:
        """Look at the pages of the first `num_rows` rows that were not looked at, and one more.

        Raises:
            BadPage: one would unpack to more than `most_bytes`, or has no header.
        """
        while self._at < self._end and (self._num_rows <= num_rows or not self._is_flat):
            page = read_page_header(self._file, self._at)
            if page.unpacked_bytes > most_bytes:
                raise BadPage(f"a page would unpack to {page.unpacked_bytes} bytes")
            self._at = page.data_start + page.stored_bytes
            self._num_rows += page.num_values


def read_page_header(file: Seekable, start: int) -> PageHeader:
    """Read the header of the page that begins at `start`.

    Raises:
        BadPage: there is none.
    """
    for size in _HEADS:
        file.seek(start)
        data = file.read(size) or b""
        try:
            fields, length = _read_struct(data, 0, 0)
        except IndexError:  # it is longer, or the file ends
            continue
        return _make_header(fields, start + length)
    raise BadPage("a page has no header")


def _make_header(fields: Fields, data_start: int) -> PageHeader:
    kind, unpacked, stored = (fields.get(number) for number in (1, 2, 3))
    if not isinstance(kind, int) or not isinstance(unpacked, int) or not isinstance(stored, int):
        raise BadPage("a page has no header")
    if unpacked < 0 or stored < 0:
        raise BadPage("a page has a size below zero")
    of_data = fields.get(5) or fields.get(8) or {}
    values = 0 if kind == _DICTIONARY_PAGE else of_data.get(1, 0)
    return PageHeader(data_start, stored, unpacked, max(int(values), 0))


def _read_struct(data: bytes, at: int, depth: int) -> tuple[Fields, int]:
    """Return a struct's fields by number, texts and lists left out, and where it ends."""
    if depth > _DEEPEST:
        raise BadPage("a page's header nests too deep")
    fields: Fields = {}
    number = 0
    while head := data[at]:
        at += 1
        step, kind = head >> 4, head & 15
        if step:
            number += step
        else:
            number, at = _read_number(data, at)
        fields[number], at = _read_value(data, at, kind, depth)
    return fields, at + 1


def _read_value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind == _BYTE:
        return data[at], at + 1
    if kind in (_I16, _I32, _I64):
        return _read_number(data, at)
    if kind == _DOUBLE:
        return None, at + 8
    if kind == _BINARY:
        length, at = _read_varint(data, at)
        return None, at + length
    if kind == _STRUCT:
        return _read_struct(data, at, depth + 1)
    raise BadPage("a page has no header")  # it has neither lists nor maps


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    value, at = _read_varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise BadPage("a page has no header")
