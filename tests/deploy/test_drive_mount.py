"""A person's home in a container of a real Docker engine, as dev machines will have it."""

import subprocess

import pytest

from studio.drive.quota.btrfs import BtrfsQuota
from tests.deploy.build import BASE
from tests.deploy.engine import run_engine, why_not
from tests.deploy.supplies import get_base_tree
from tests.studio.drive.disks import mount_btrfs, why_no_btrfs

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]
MIB = 2**20


@pytest.fixture(scope="module")
def engine():
    if reason := why_not() or why_no_btrfs():
        pytest.fail(reason)
    with run_engine() as engine:
        engine.import_tree(get_base_tree(), BASE)
        yield engine


def test_a_container_that_writes_over_the_quota_is_told_so_and_loses_nothing(engine, tmp_path):
    with mount_btrfs(tmp_path) as disk:
        assert BtrfsQuota.why_not(disk) is None
        quota, space = BtrfsQuota(), disk / "7"
        quota.make_folder(space)
        quota.set_limit(space, 16 * MIB)
        home = space / "home"
        home.mkdir()
        (home / "kept").write_bytes(b"x" * MIB)
        said = run(engine, home, "dd if=/dev/zero of=/root/flood bs=1M count=64; sync")
        assert "Disk quota exceeded" in said, said
        assert (home / "kept").read_bytes() == b"x" * MIB
        assert 8 * MIB < (home / "flood").stat().st_size < 17 * MIB
        again = run(
            engine, home, "rm /root/flood && sync && echo new > /root/note && cat /root/note"
        )
        assert "new" in again, again
        assert (home / "note").read_text() == "new\n"


def test_a_container_reaches_neither_drafts_nor_trash_nor_what_a_link_names(engine, tmp_path):
    home, trash = tmp_path / "7" / "home", tmp_path / "7" / "trash"
    home.mkdir(parents=True)
    trash.mkdir()
    (trash / "secret").write_text("secret")
    (home / "way").symlink_to(trash)
    said = run(engine, home, "ls /root/.. ; cat /root/way/secret; cat /root/../trash/secret")
    assert "secret\n" not in said.replace("trash/secret", "").replace("way/secret", ""), said


def run(engine, home, command: str) -> str:
    """Run a shell command in a container that has the home as /root; return all it said."""
    done = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", "--volume", f"{home}:/root"]
        + [BASE, "sh", "-c", command],
        env=engine.env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )
    return done.stdout
