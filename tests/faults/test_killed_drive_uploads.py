"""The web process dies in the middle of an upload: tuspy goes on, and not a byte is off."""

import hashlib
import os
import random
import threading

import httpx
import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from tests.live import wait_for

pytestmark = pytest.mark.fault
MIB = 2**20
SIZE = 24 * MIB
KILLS = 3


def slow_body(content: bytes, midway: threading.Event):
    """Yield a body in pieces, and say when some of it is on its way."""
    for at in range(0, len(content), 256 * 1024):
        if at >= 2 * MIB:
            midway.set()
        yield content[at : at + 256 * 1024]


def offset_of(client: httpx.Client, url: str) -> int:
    answer = client.head(url, headers={"Tus-Resumable": "1.0.0"})
    assert answer.status_code == 200, answer.status_code
    return int(answer.headers["Upload-Offset"])


def test_an_upload_goes_on_from_what_a_killed_studio_had_on_disk(furnace, tmp_path):
    studio = furnace
    content = random.Random(7).randbytes(SIZE)
    file = tmp_path / "model.bin"
    file.write_bytes(content)
    headers = {"Authorization": f"Bearer {studio.make_token('kira')}"}
    tus = TusClient(f"{studio.url}/api/drive/uploads/", headers=headers)
    uploader = tus.uploader(
        str(file), metadata={"filename": "model.bin", "folder": "runs"}, chunk_size=4 * MIB
    )
    url = uploader.create_url()
    with studio.client("kira") as client:
        kept = []
        for _ in range(KILLS):
            kept.append(kill_midway(studio, client, url, content))
            studio_home = studio.data_dir / "drive"
            assert not list(studio_home.glob("*/home/runs/*")), "half a file is seen by nobody"
        assert kept == sorted(kept) and kept[-1] > 0  # what came before a kill stays
        again = tus.uploader(str(file), url=url, chunk_size=4 * MIB)
        again.upload()
        got = client.get("/api/drive/file/", params={"path": "runs/model.bin"})
        assert hashlib.sha256(got.content).digest() == hashlib.sha256(content).digest()
        assert offset_of(client, url) == SIZE
    assert not list((studio.data_dir / "drive").glob("*/drafts/*"))


def kill_midway(studio, client: httpx.Client, url: str, content: bytes) -> int:
    """Kill the web process while it receives a piece; return how much it has after it is back."""
    begun = offset_of(client, url)
    midway = threading.Event()
    pid = studio.pids()["web"]

    def kill() -> None:
        midway.wait(30)
        os.kill(pid, 9)

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises((httpx.TransportError, TusCommunicationError)):
        piece = content[begun : begun + 5 * MIB]
        client.patch(
            url,
            content=slow_body(piece, midway),
            headers={
                "Tus-Resumable": "1.0.0",
                "Upload-Offset": str(begun),
                "Content-Type": "application/offset+octet-stream",
            },
        ).raise_for_status()
        raise httpx.ReadError("it was faster than its killer")
    midway.set()
    killer.join()
    studio.wait_restarted("web", pid)
    wait_for("the studio to be healthy", studio.is_healthy)
    return offset_of(client, url)
