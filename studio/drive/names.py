"""Paths and names as the API speaks them, and as the file system keeps them.

A path is relative to the home, its parts divided by `/`; the home itself is the empty path. On disk
a name is any 255 bytes. What is not UTF-8 is shown byte for byte as U+10FF80 to U+10FFFF, a private
use, and read back the same way, so that every file can be named and no answer breaks.
"""

import unicodedata
from collections.abc import Iterable

from studio.drive.errors import BadPath

MOST_NAME_BYTES = 255
MOST_PATH_BYTES = 3800  # below PATH_MAX, with room for the name of a draft
MOST_PARTS = 100
_RAW = 0x10FF00


def parse_path(path: str, *, field: str = "path", is_new: bool = False) -> tuple[str, ...]:
    """Return the names of a path as the file system takes them; the home is the empty tuple.

    Raises:
        BadPath: it leads out, or holds a name that no file can have.
    """
    if path in {"", "/"}:
        return ()
    if path.startswith("/"):
        raise BadPath(f"{field}: write it relative to your home, without a leading /.", field=field)
    parts = tuple(_parse(part, field, is_new) for part in path.split("/"))
    if len(parts) > MOST_PARTS or sum(len(_bytes(part)) + 1 for part in parts) > MOST_PATH_BYTES:
        raise BadPath(f"{field}: it is too long or too deep.", field=field)
    return parts


def parse_name(name: str, *, field: str = "name") -> str:
    """Return one new name as the file system takes it.

    Raises:
        BadPath: no file can have it.
    """
    if "/" in name:
        raise BadPath(f"{field}: a name has no / in it.", field=field)
    return _parse(name, field, is_new=True)


def show(name: str) -> str:
    """Return a name of the file system as the API shows it."""
    if name.isascii():
        return name
    shown = []
    for letter in name:
        if "\udc80" <= letter <= "\udcff":
            shown.append(chr(_RAW + ord(letter) - 0xDC00))
        elif ord(letter) >= _RAW + 0x80:  # else two names would be shown alike
            shown += [chr(_RAW + byte) for byte in letter.encode()]
        else:
            shown.append(letter)
    return "".join(shown)


def show_path(parts: Iterable[str]) -> str:
    """Return a path as the API shows it."""
    return "/".join(show(part) for part in parts)


def fold(name: str) -> str:
    """Return what two names have in common that differ by case or composition alone."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def number_name(name: str, number: int) -> str:
    """Return `talk (2).txt` for `talk.txt`, within the bytes a name may have."""
    stem, dot, ending = name.rpartition(".")
    if not stem or len(_bytes(ending)) > 16:
        stem, dot, ending = name, "", ""
    mark = f" ({number}){dot}{ending}"
    room = MOST_NAME_BYTES - len(_bytes(mark))
    while len(_bytes(stem)) > room:
        stem = stem[:-1]
    return stem + mark


def _parse(part: str, field: str, is_new: bool) -> str:
    if part in {"", ".", ".."}:
        raise BadPath(f"{field}: `.`, `..` and empty names lead nowhere here.", field=field)
    if "\0" in part:
        raise BadPath(f"{field}: a name has no NUL character.", field=field)
    if is_new and any(ord(letter) < 32 or ord(letter) == 127 for letter in part):
        raise BadPath(f"{field}: a new name has no line breaks or control characters.", field=field)
    if any("\ud800" <= letter <= "\udfff" for letter in part):
        raise BadPath(f"{field}: it holds half of a surrogate pair.", field=field)
    raw = b"".join(
        bytes([ord(letter) - _RAW]) if ord(letter) >= _RAW + 0x80 else letter.encode()
        for letter in part
    )
    if len(raw) > MOST_NAME_BYTES:
        raise BadPath(f"{field}: a name has at most 255 bytes.", field=field)
    return raw.decode("utf-8", "surrogateescape")


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
