"""A drive of its own for every test, on the disk of the test."""

import io

import pytest
from asgiref.sync import async_to_sync

from studio.drive.spaces import home_path


@pytest.fixture(autouse=True)
def drive_dir(settings, tmp_path):
    settings.DRIVE_DIR = tmp_path / "drive"
    settings.DRIVE_QUOTA_BYTES = 64 * 2**20
    settings.DRIVE_DIR.mkdir()
    return settings.DRIVE_DIR


@pytest.fixture
def home(alice):
    """Alice's home, as a machine that mounts it sees it."""
    return home_path(alice)


@pytest.fixture
def made(home):
    """`made("a/b.txt", b"...")` writes a file into alice's home."""

    def make(path: str, content: bytes = b"x"):
        file = home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    return make


def body_of(answer) -> bytes:
    """Return a streamed answer's bytes."""
    if not answer.streaming:
        return answer.content

    async def read() -> bytes:
        return b"".join([piece async for piece in answer])

    return async_to_sync(read)()


def zip_of(entries: dict[str, bytes]) -> bytes:
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return out.getvalue()
