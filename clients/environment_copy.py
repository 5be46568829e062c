"""Scripts and files of an environment, made to belong to a clone of it at another path."""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from clients.api import Json
from clients.terminal import Refused

_FICLONE = 0x40049409  # linux/fs.h: share the blocks, where the file system can
_SCRIPT_BYTES = 2**20
_LONGEST_SHEBANG = 120  # Linux cuts a longer one off


def point_scripts_here(shared: Path, target: Path, prefix: str) -> None:
    """Give a clone the programs of the environment it is of: scripts run with the clone's Python.

    `prefix` is the path they have inside. What is no script is a link; what the clone has stays.
    """
    for source in sorted((shared / "bin").iterdir()):
        made = target / "bin" / source.name
        is_own = source.name.startswith(("python", "activate", "Activate"))
        if is_own or os.path.lexists(made) or source.is_dir():
            continue
        content = b"" if source.is_symlink() else _read_script(source)
        if prefix.encode() in content:
            made.write_bytes(_rewrite(content, prefix, str(target)))
            made.chmod(0o755)
        else:
            made.symlink_to(source)


def copy_tree(shared: Path, target: Path, facts: Json, advance: Callable[[int], None]) -> None:
    """Copy all files; blocks are shared where the disk can, and paths in them are rewritten.

    Raises:
        Refused: a program has the path compiled in, and the new one is too long for its place.
    """
    old, new = str(facts["prefix"]).encode(), str(target).encode()
    binaries = _files(shared, facts["binary_with_prefix"])
    if binaries and len(new) > len(old):
        raise Refused(
            f"{facts['name']} has programs with its path inside: choose one of {len(old)} letters "
            "at most."
        )
    texts = _files(shared, facts["text_with_prefix"])
    for folder, folders, names in os.walk(shared):
        here = target / Path(folder).relative_to(shared)
        here.mkdir(exist_ok=True)
        links = [each for each in folders if os.path.islink(os.path.join(folder, each))]
        for source in (Path(folder, each) for each in [*names, *links]):
            made = here / source.name
            if source.is_symlink():
                made.symlink_to(_point_here(os.readlink(source), old.decode(), str(target)))
            elif source in texts:
                made.write_bytes(_rewrite(source.read_bytes(), old.decode(), str(target)))
                shutil.copymode(source, made)
            elif source in binaries:
                made.write_bytes(_pad(source.read_bytes(), old, new))
                shutil.copymode(source, made)
            else:
                _copy_file(source, made)
            if not made.is_symlink():
                made.chmod(made.stat().st_mode | 0o200)
            advance(source.lstat().st_size)


def _files(shared: Path, names: Iterable[str]) -> set[Path]:
    return {shared / name for name in names}


def _point_here(link: str, old: str, new: str) -> str:
    return new + link.removeprefix(old) if link == old or link.startswith(f"{old}/") else link


def _read_script(path: Path) -> bytes:
    """Return a script's text; nothing of what is none."""
    if path.stat().st_size > _SCRIPT_BYTES:
        return b""
    content = path.read_bytes()
    return b"" if b"\0" in content else content


def _rewrite(content: bytes, old: str, new: str) -> bytes:
    """Return a text with the clone's path for the other, and a first line that the kernel takes."""
    content = content.replace(old.encode(), new.encode())
    first, _, rest = content.partition(b"\n")
    is_long = " " in new or len(first) > _LONGEST_SHEBANG
    if not (is_long and first.startswith(f"#!{new}/".encode())):
        return content
    # As pip writes it: the shell runs the second line, and to Python it is a string.
    python = first.removeprefix(b"#!")
    return b"#!/bin/sh\n'''exec' \"" + python + b'" "$0" "$@"\n\' \'\'\'\n' + rest


def _pad(content: bytes, old: bytes, new: bytes) -> bytes:
    """Return a program with the new path in each string that has the old, at the same length."""
    begin = 0
    parts = []
    while (found := content.find(old, begin)) >= 0:
        end = content.find(b"\0", found)
        end = len(content) if end < 0 else end
        string = content[found:end].replace(old, new)
        parts += [content[begin:found], string.ljust(end - found, b"\0")]
        begin = end
    return b"".join([*parts, content[begin:]])


def _copy_file(source: Path, made: Path) -> None:
    with source.open("rb") as read, made.open("xb") as written:
        try:
            fcntl.ioctl(written.fileno(), _FICLONE, read.fileno())
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY}:
                raise
            shutil.copyfileobj(read, written, 2**20)
    shutil.copystat(source, made)
