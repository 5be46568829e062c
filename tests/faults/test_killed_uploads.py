"""The web process killed in the middle of uploads and commits: the client sends again, and in the
end the bytes are right and nothing is left over."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.owner import Owner
from tests.live import LiveStudio, wait_for

KILLS = int(os.environ.get("ATHANOR_UPLOAD_KILLS", "2"))
MIB = 2**20
_UPLOAD = """
import sys
from huggingface_hub import HfApi
HfApi().upload_folder(repo_id=sys.argv[1], folder_path=sys.argv[2], commit_message="again")
"""
_FETCH = """
import sys
from huggingface_hub import snapshot_download
print(snapshot_download(sys.argv[1]))
"""


@pytest.fixture
def client(furnace: LiveStudio, alice: Owner, tmp_path):
    """`client(script, *arguments)` starts a client with a memory of its own."""
    env = {
        "PATH": os.environ["PATH"],
        "HF_HOME": str(tmp_path / "hf"),
        "HF_ENDPOINT": furnace.url,
        "HF_TOKEN": furnace.make_token("alice"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }

    def start(script: str, *arguments: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            env=env | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


@pytest.mark.fault
@pytest.mark.parametrize("way", ["xet", "lfs"])
def test_an_upload_survives_the_studio_being_killed(furnace, alice, client, tmp_path, way):
    chance = random.Random(way)
    more = {"HF_HUB_DISABLE_XET": "1"} if way == "lfs" else {}
    repo_id = f"alice/killed-{way}"
    owner = furnace.client("alice")
    made = owner.post("/api/repos/create", json={"name": f"killed-{way}"})
    assert made.status_code == 200, made.text
    folder = tmp_path / "model"
    folder.mkdir()
    for number in range(KILLS):
        _write_folder(folder, chance, number)
        upload = client(_UPLOAD, repo_id, str(folder), **more)
        # An upload takes some two seconds, of which the client needs one to begin.
        time.sleep(chance.uniform(0.8, 2.6))
        furnace.wait_restarted("web", furnace.kill("web"))
        wait_for("the studio", furnace.is_healthy)
        if upload.wait(120) != 0:
            again = client(_UPLOAD, repo_id, str(folder), **more)
            said, _ = again.communicate(timeout=120)
            assert again.returncode == 0, said[-2000:]
        _check_whole(owner, repo_id)
    fetched, _ = client(_FETCH, repo_id).communicate(timeout=120)
    got = Path(fetched.strip().splitlines()[-1])
    for path in folder.iterdir():
        assert _digest(got / path.name) == _digest(path)
    _check_nothing_is_left_over(furnace, owner, repo_id)


def _write_folder(folder: Path, chance: random.Random, number: int) -> None:
    (folder / "config.json").write_text(json.dumps({"step": number}))
    (folder / "model.bin").write_bytes(chance.randbytes(24 * MIB))


def _check_whole(owner, repo_id: str) -> None:
    """Both files of a commit are there, or neither."""
    tree = owner.get(f"/api/models/{repo_id}/tree/main")
    assert tree.status_code in {200, 404}
    if tree.status_code == 200:
        assert {entry["path"] for entry in tree.json()} >= {"config.json", "model.bin"}


def _check_nothing_is_left_over(studio: LiveStudio, owner, repo_id: str) -> None:
    studio.manage("hub_sweep", "--spare-days=-1", "--spare-chunks-days=-1")
    hub = studio.data_dir / "hub"
    listed = json.loads(
        studio.manage(
            "shell",
            "-v0",
            "-c",
            "import json; from studio.hub.models import Blob, Xorb;"
            "print(json.dumps([[b.pk for b in Blob.objects.filter(xet=None)],"
            " [x.pk for x in Xorb.objects.all()],"
            " [b.pk for b in Blob.objects.filter(files=None)]]))",
        ).splitlines()[-1]
    )
    whole, xorbs, unnamed = listed
    assert unnamed == []
    assert _list_files(hub / "blobs") == sorted(whole)
    assert _list_files(hub / "xorbs") == sorted(xorbs)
    assert _list_files(hub / "lfs") == []


def _list_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
