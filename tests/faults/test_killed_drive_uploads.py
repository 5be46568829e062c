"""The web process dies in the middle of an upload: tuspy goes on, and not a byte is off."""

import hashlib
import os
import random
import threading
from pathlib import Path

import httpx
import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from tests.live import wait_for

pytestmark = pytest.mark.fault
MIB = 2**20
SIZE = 24 * MIB
KILLS = 3


def slow_body(content: bytes, draft: Path, midway: threading.Event):
    """Yield a body in pieces; hold its second half until some of the first is on the disk."""
    begun = draft.stat().st_size
    half = len(content) // 2
    yield content[:half]
    # What is sent may still lie in the sockets' buffers, which a killed process never reads.
    wait_for("some of the piece to be stored", lambda: draft.stat().st_size > begun)
    midway.set()
    yield content[half:]


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
        assert kept[0] > 0 and kept == sorted(set(kept))  # what came before a kill stays
        again = tus.uploader(str(file), url=url, chunk_size=4 * MIB)
        again.upload()
        got = client.get("/api/drive/file/", params={"path": "runs/model.bin"})
        assert hashlib.sha256(got.content).digest() == hashlib.sha256(content).digest()
        assert offset_of(client, url) == SIZE
    assert not list((studio.data_dir / "drive").glob("*/drafts/*"))


def kill_midway(studio, client: httpx.Client, url: str, content: bytes) -> int:
    """Kill the web process while it receives a piece; return how much it has after it is back."""
    begun = offset_of(client, url)
    (draft,) = (studio.data_dir / "drive").glob(f"*/drafts/{url.rpartition('/')[2]}")
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
            content=slow_body(piece, draft, midway),
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
