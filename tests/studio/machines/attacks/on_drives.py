"""What a machine's root may leave in its home, for the studio to fall over when it shows the drive.

It has succeeded where the studio answers what lies outside the drive, writes there, or hangs.
"""

import asyncio
import io
import os
import socket
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.test import Client

from tests.studio.machines.attacks.rows import Attack

OUTSIDE = "lies outside of every drive"


class Home:
    """Bob's home as his machine sees it, Alice's, and a secret beside both."""

    def __init__(self, bob: Any, his: Path, hers: Path, outside: Path) -> None:
        self.bob, self.his, self.hers, self.outside = bob, his, hers, outside
        outside.mkdir()
        (outside / "secret").write_text(OUTSIDE)
        (hers / "secret").write_text(OUTSIDE)

    def calm(self) -> None:
        """Empty Bob's home."""
        for path in self.his.iterdir():
            path.unlink()

    def call(self, method: str, address: str, body: str = "", **headers: str) -> str:
        browser = Client()
        browser.force_login(self.bob, backend="django.contrib.auth.backends.ModelBackend")
        told = browser.generic(method, address, body, content_type="application/json", **headers)
        return _unpack(_collect(told)).decode("utf-8", "replace")


def _collect(told: Any) -> bytes:
    if not told.streaming:
        return bytes(told.content)
    if not told.is_async:
        return b"".join(told)

    async def gather() -> bytes:
        return b"".join([piece async for piece in told])

    return asyncio.run(gather())


def _unpack(body: bytes) -> bytes:
    """Return what is in an archive; what is none is itself."""
    if not body.startswith(b"PK"):
        return body
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return b"\n".join(archive.read(name) for name in archive.namelist())


def reads(name: str, leave: Callable[[Home], object], address: str) -> Attack:
    """Make a row of something that is left in the home and then read through the drive."""

    def attempt(home: Home) -> str:
        leave(home)
        told = home.call("GET", address)
        return told if OUTSIDE in told or "root:" in told else ""

    return Attack(name, attempt)


def writes(name: str, leave: Callable[[Home], object], *ask: Any, **headers: str) -> Attack:
    """Make a row of a change through what was left: nothing outside may be another after it."""

    def attempt(home: Home) -> str:
        leave(home)
        home.call(*ask, **headers)
        is_whole = (home.outside / "secret").read_text() == OUTSIDE
        is_whole = is_whole and (home.hers / "secret").read_text() == OUTSIDE
        strange = {p.name for where in (home.outside, home.hers) for p in where.iterdir()}
        return "" if is_whole and strange == {"secret"} else f"outside is {strange}"

    return Attack(name, attempt)


def link(name: str, to: str) -> Callable[[Home], None]:
    def leave(home: Home) -> None:
        target = to.format(outside=home.outside, hers=home.hers)
        (home.his / name).symlink_to(target)

    return leave


def relative(home: Home) -> None:
    (home.his / "way").symlink_to(os.path.relpath(home.hers, home.his))


def fifo(home: Home) -> None:
    os.mkfifo(home.his / "pipe")


def listener(home: Home) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(home.his / "door"))


def device(home: Home) -> None:
    """A machine cannot make one; a drive that somebody brought here may hold one all the same."""
    os.mknod(home.his / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))


def chain(home: Home) -> None:
    (home.his / "a").symlink_to("b")
    (home.his / "b").symlink_to(home.outside)


def loop(home: Home) -> None:
    (home.his / "a").symlink_to("a")


FILE, LIST = "/api/drive/file/?path=", "/api/drive/list/?path="
_TEXT = '{"path": "%s", "text": "x"}'
DRIVES = [
    reads("link-to-a-file", link("way", "{outside}/secret"), f"{FILE}way"),
    reads("link-to-passwords", link("way", "/etc/passwd"), f"{FILE}way"),
    reads("link-to-a-folder", link("way", "{outside}"), f"{FILE}way/secret"),
    reads("link-to-her-home", link("way", "{hers}"), f"{FILE}way/secret"),
    reads("link-by-dots", relative, f"{FILE}way/secret"),
    reads("link-to-a-link", chain, f"{FILE}a/secret"),
    reads("link-to-itself", loop, f"{FILE}a"),
    reads("link-to-the-process", link("way", "/proc/self/environ"), f"{FILE}way"),
    reads("link-listed", link("way", "{outside}"), f"{LIST}way"),
    reads("link-searched", link("way", "{outside}"), "/api/drive/search/?path=&q=secret"),
    reads("link-in-an-archive", link("way", "{outside}"), "/api/drive/archive/?path=way"),
    reads("link-in-a-whole-archive", link("way", "{outside}/secret"), "/api/drive/archive/?path="),
    reads("link-previewed", link("way.md", "{outside}/secret"), "/api/drive/preview/?path=way.md"),
    reads("pipe-read", fifo, f"{FILE}pipe"),
    reads("pipe-previewed", fifo, "/api/drive/preview/?path=pipe"),
    reads("pipe-in-an-archive", fifo, "/api/drive/archive/?path=pipe"),
    reads("socket-read", listener, f"{FILE}door"),
    reads("device-read", device, f"{FILE}zero"),
    reads("device-previewed", device, "/api/drive/preview/?path=zero"),
    reads("dots-in-a-path", lambda h: None, FILE + quote("../../outside/secret", safe="")),
    reads("dots-within-a-path", lambda h: None, FILE + quote("a/../../secret", safe="")),
    reads("absolute-path", lambda h: None, FILE + quote("/etc/passwd", safe="")),
    reads("path-with-nul", lambda h: None, FILE + "a%00../secret"),
    writes("text-through-a-link", link("way", "{outside}/secret"), "PUT", "/api/drive/text/",
           _TEXT % "way", HTTP_IF_MATCH='"x"'),
    writes("new-text-through-a-folder", link("way", "{outside}"), "PUT", "/api/drive/text/",
           _TEXT % "way/new", HTTP_IF_NONE_MATCH="*"),
    writes("folder-through-a-link", link("way", "{hers}"), "POST", "/api/drive/folders/",
           '{"path": "way/new"}'),
    writes("rename-through-a-link", link("way", "{hers}"), "POST", "/api/drive/rename/",
           '{"path": "way/secret", "name": "stolen"}'),
    writes("move-out-of-hers", link("way", "{hers}"), "POST", "/api/drive/move/",
           '{"paths": ["way/secret"], "target": ""}'),
    writes("trash-through-a-link", link("way", "{outside}"), "POST", "/api/drive/trash/",
           '{"paths": ["way/secret"]}'),
]  # fmt: skip
