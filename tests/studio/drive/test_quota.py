"""Quotas that the file system keeps: on a real btrfs disk, through the API and past it."""

import errno
import os

import pytest

from studio.core.sentences import find_told
from studio.drive.quota import find_backend, get_backend
from studio.drive.quota.base import find_mount
from studio.drive.quota.project import ProjectQuota
from studio.drive.services import set_quota
from studio.drive.spaces import get_use, home_path
from tests.studio.drive.disks import mount_btrfs, why_no_btrfs
from tests.studio.drive.test_uploads import begin, send

pytestmark = pytest.mark.django_db
MIB = 2**20


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    if reason := why_no_btrfs():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    with mount_btrfs(tmp_path_factory.mktemp("btrfs")) as point:
        yield point


@pytest.fixture
def drive(disk, settings, tmp_path):
    """A drive on the disk, its default quota 16 MiB."""
    settings.DRIVE_DIR = disk / tmp_path.name
    settings.DRIVE_DIR.mkdir()
    settings.DRIVE_QUOTA_BYTES = 16 * MIB
    return settings.DRIVE_DIR


def fill(path, num_bytes: int) -> int:
    """Write past the studio, as a machine does; return how many bytes the disk took."""
    written = 0
    with path.open("wb", buffering=0) as file:
        try:
            while written < num_bytes:
                written += file.write(os.urandom(MIB))
                os.fsync(file.fileno())
        except OSError as error:
            assert error.errno == errno.EDQUOT
    return written


def test_a_write_over_the_quota_fails_past_the_studio_too_and_deletes_nothing(drive, alice):
    assert (get_backend().name, get_backend().is_enforced) == ("btrfs", True)
    home = home_path(alice)
    kept = home / "kept"
    kept.write_bytes(b"x" * MIB)
    assert 8 * MIB < fill(home / "flood", 32 * MIB) < 17 * MIB
    assert kept.read_bytes() == b"x" * MIB
    os.sync()
    assert get_use(alice).used_bytes > 12 * MIB


def test_a_quota_is_raised_and_lowered_by_an_operator(drive, alice, olga):
    home = home_path(alice)
    set_quota(by=olga, username="alice", quota_bytes=32 * MIB)
    assert fill(home / "flood", 24 * MIB) == 24 * MIB
    set_quota(by=olga, username="alice", quota_bytes=4 * MIB)
    assert (home / "flood").stat().st_size == 24 * MIB
    with pytest.raises(OSError, match="quota"):
        (home / "more").write_bytes(b"x" * MIB)
        os.sync()
        (home / "more").write_bytes(b"x" * MIB)


def test_one_persons_quota_is_no_one_elses(drive, alice, bob):
    fill(home_path(alice) / "flood", 32 * MIB)
    assert fill(home_path(bob) / "own", 8 * MIB) == 8 * MIB


def test_an_upload_that_the_disk_refuses_midway_is_told_and_can_be_ended(drive, api, alice):
    client = api(alice)
    url = begin(client, 12 * MIB, filename="big")["Location"]
    fill(home_path(alice) / "flood", 10 * MIB)  # a machine was faster
    os.sync()
    answer = send(client, url, 0, os.urandom(12 * MIB))
    assert (answer.status_code, answer.json()["code"]) == (413, "drive_full")
    assert client.delete(url, HTTP_TUS_RESUMABLE="1.0.0").status_code == 204
    assert (home_path(alice) / "flood").stat().st_size == 10 * MIB


def test_a_finished_upload_a_move_and_the_trash_stay_within_the_disk(drive, api, alice):
    client = api(alice)
    url = begin(client, 3, filename="a.txt")["Location"]
    assert send(client, url, 0, b"abc").status_code == 204
    assert (home_path(alice) / "a.txt").read_bytes() == b"abc"
    trashed = client.post("/api/drive/trash/", {"paths": ["a.txt"]}, format="json").json()
    back = client.post(f"/api/drive/trash/{trashed['entries'][0]['id']}/restore/")
    assert back.json() == {"path": "a.txt"}


def test_a_disk_without_quotas_says_why(tmp_path):
    backend = find_backend(str(tmp_path))
    if find_mount(tmp_path)[1] == "btrfs" or ProjectQuota.why_not(tmp_path) is None:
        pytest.skip("this machine's own disk keeps quotas")
    assert (backend.name, backend.is_enforced) == ("none", False)
    assert backend.reasons and all(find_told(why) for why in backend.reasons)
