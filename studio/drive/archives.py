"""Zip files of the drive: made from its files, and unpacked into a new folder or not at all."""

import os
import stat
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import IO, BinaryIO

from zipstream import ZIP_DEFLATED, ZIP_STORED, ZipStream

from studio.accounts.models import User
from studio.core.errors import BadInput
from studio.drive.errors import BadArchive, BadPath
from studio.drive.folders import Found, create_file, open_file, open_folder, stat_at, walk
from studio.drive.names import parse_path, show, show_path
from studio.drive.spaces import open_space

_PIECE_BYTES = 2**20
_MOST_ENTRIES = 100_000
# Text seldom passes 20 to 1; what passes this, and is large besides, is made to fill disks.
_MOST_RATIO = 200
_RATIO_MATTERS_BYTES = 100 * 2**20
_PACKED = {".zip", ".gz", ".xz", ".zst", ".7z", ".png", ".jpg", ".jpeg", ".webp", ".mp4", ".mp3"}
_PACKED |= {".parquet", ".safetensors", ".gguf", ".npz", ".whl"}
_UTF8_NAME = 0x800
_ENCRYPTED = 0x1
Advance = Callable[[int], None]


def list_sources(user: User, paths: Sequence[Sequence[str]]) -> list[tuple[str, Found]]:
    """Return what a zip of these would hold, with each one's name in it; links are left out.

    Raises:
        BadInput: there are too many files, or two have one name in the zip.
        OSError: one of the paths is not there.
    """
    sources: list[tuple[str, Found]] = []
    tops = [parts[-1] if parts else "" for parts in paths]
    if len(set(tops)) < len(tops):
        raise BadInput(
            "paths: two of them have one name; zip them apart.", field="paths", code="same_names"
        )
    with open_space(user) as space:
        for parts in paths:
            cut = len(parts) - 1 if parts else 0
            first = Found(tuple(parts), stat_at(space.home, parts))
            inside = walk(space.home, parts) if first.is_folder else iter(())
            for one in [*([first] if parts else []), *inside]:
                if one.is_folder or stat.S_ISREG(one.info.st_mode):
                    sources.append(("/".join(map(_zip_name, one.parts[cut:])), one))
                if len(sources) > _MOST_ENTRIES:
                    raise BadInput(
                        f"paths: a zip takes at most {_MOST_ENTRIES} files.",
                        field="paths",
                        code="too_many_to_zip",
                        most=_MOST_ENTRIES,
                    )
    return sources


def stream_zip(user: User, paths: Sequence[Sequence[str]]) -> Iterator[bytes]:
    """Return the pieces of a zip of these; each file is opened when its turn comes.

    Raises:
        OSError: one of the paths is not there. A file that goes later breaks the stream off.
    """
    return build_zip(user, list_sources(user, paths), lambda num_bytes: None)


def build_zip(user: User, sources: list[tuple[str, Found]], advance: Advance) -> Iterator[bytes]:
    """Return the pieces of a zip; `advance` hears of every byte that was read."""
    zipped = ZipStream(compress_type=ZIP_DEFLATED, compress_level=6)
    for name, one in sources:
        if one.is_folder:
            zipped.mkdir(name)
        else:
            ending = os.path.splitext(name)[1].lower()
            how = ZIP_STORED if ending in _PACKED else ZIP_DEFLATED
            zipped.add(_read(user, one, advance), name, compress_type=how)
    return iter(zipped)


def check_archive(file: BinaryIO, room_bytes: int) -> tuple[zipfile.ZipFile, int]:
    """Return an archive that may be unpacked, and how many bytes that makes.

    Raises:
        BadArchive: it is no zip, leads out of its folder, holds links or devices, is encrypted,
            or is made to fill the disk.
    """
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError) as error:
        raise BadArchive("This is not a zip file, or it is broken.") from error
    infos = archive.infolist()
    total = sum(info.file_size for info in infos)
    packed = os.fstat(file.fileno()).st_size
    if len(infos) > _MOST_ENTRIES:
        raise BadArchive(f"The archive has {len(infos)} entries; {_MOST_ENTRIES} are unpacked.")
    if sum(info.compress_size for info in infos) > packed:
        raise BadArchive("Entries of the archive overlap: it is made to fill the disk.")
    if total > _RATIO_MATTERS_BYTES and total > packed * _MOST_RATIO:
        raise BadArchive("The archive unpacks to far more than its size: it is not unpacked.")
    if total > room_bytes:
        raise BadArchive(
            f"The archive unpacks to {total} bytes and {room_bytes} are free on your drive.",
            code="drive_full",
            needed_bytes=total,
            free_bytes=room_bytes,
        )
    for info in infos:
        _check_entry(info)
    return archive, total


def unpack(archive: zipfile.ZipFile, into: int, advance: Advance) -> None:
    """Unpack a checked archive below an open folder.

    Raises:
        BadArchive: an entry is broken or longer than it says.
    """
    for info in archive.infolist():
        parts = entry_path(info)
        if not parts:
            continue
        if _is_folder(info):
            with open_folder(into, parts, make=True):
                continue
        with open_folder(into, parts[:-1], make=True) as folder:
            mode = 0o755 if (info.external_attr >> 16) & 0o111 else 0o644
            try:
                fd = create_file(folder, parts[-1], mode)
            except FileExistsError as error:
                raise BadArchive(
                    f"{show_path(parts)} is in the archive twice.", name=show_path(parts)
                ) from error
        with os.fdopen(fd, "wb") as file:
            _unpack_one(archive, info, file, advance)
            _set_time(file.fileno(), info)


def entry_path(info: zipfile.ZipInfo) -> tuple[str, ...]:
    """Return where an entry goes, by names below the result's folder.

    Raises:
        BadArchive: it leads out, or has a name that no file can have.
    """
    name = info.orig_filename
    if not info.flag_bits & _UTF8_NAME:
        name = _guess_name(name)
    path = name.replace("\\", "/")
    if path.startswith("/") or (len(path) > 1 and path[1] == ":"):
        raise BadArchive("An entry of the archive has an absolute path: it is not unpacked.")
    try:
        return parse_path(path.removesuffix("/").removeprefix("./"), field="entry", is_new=True)
    except BadPath as error:
        raise BadArchive(
            f"An entry of the archive leads out of it or has no usable name ({error.message})"
        ) from error


def _check_entry(info: zipfile.ZipInfo) -> None:
    entry_path(info)
    kind = stat.S_IFMT(info.external_attr >> 16)
    if info.create_system == 3 and kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise BadArchive(
            "The archive holds a link, a device or a pipe: only files and folders are unpacked."
        )
    if info.flag_bits & _ENCRYPTED:
        raise BadArchive("The archive is encrypted: unpack it on your own machine.")


def _unpack_one(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, into: IO[bytes], advance: Advance
) -> None:
    left = info.file_size
    try:
        with archive.open(info) as entry:
            while piece := entry.read(min(_PIECE_BYTES, left + 1)):
                left -= len(piece)
                if left < 0:
                    raise BadArchive("An entry of the archive is longer than it says.")
                into.write(piece)
                advance(len(piece))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BadArchive("An entry of the archive is broken.") from error
    except Exception as error:  # each codec has an error of its own
        if type(error).__module__ in {"zlib", "_lzma", "lzma"} or "invalid data" in str(error):
            raise BadArchive("An entry of the archive is broken.") from error
        raise


def _set_time(fd: int, info: zipfile.ZipInfo) -> None:
    try:
        when = datetime(*info.date_time, tzinfo=UTC).timestamp()
    except ValueError:
        when = time.time()
    os.utime(fd, (when, when))


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return info.orig_filename.endswith(("/", "\\"))


def _guess_name(name: str) -> str:
    """Read a name that does not say its encoding: UTF-8, Chinese Windows, or as the format says."""
    raw = name.encode("cp437", "replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return name


def _zip_name(name: str) -> str:
    return show(name)


def _read(user: User, one: Found, advance: Advance) -> Iterator[bytes]:
    with open_space(user) as space:
        file = open_file(space.home, one.parts)
    with file:
        while piece := file.read(_PIECE_BYTES):
            advance(len(piece))
            yield piece
