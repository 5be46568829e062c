"""A person's home and /share in a container of a real Docker engine, as dev machines have them."""

import subprocess

import pytest

from studio.drive.quota.btrfs import BtrfsQuota
from tests.deploy.build import BASE
from tests.deploy.engine import run_engine, why_not
from tests.deploy.supplies import get_base_tree
from tests.studio.drive.disks import mount_btrfs, why_no_btrfs
from tests.workers.test_share import make_snapshot
from workers.orders import ShareOrder
from workers.share import ShareDir

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


def test_share_is_read_by_anybody_written_by_nobody_and_follows_its_repos(engine, tmp_path):
    share = ShareDir(tmp_path / "share")
    share.create()
    tmp_path.chmod(0o700)  # as the node's folder is
    share.lay_out(order("a"), make_snapshot(tmp_path / "one", "first"))
    mount = (f"{tmp_path / 'share'}:/share:ro", "--detach", "--name", "reader")
    file = "/share/models/ada/model/README.md"
    run_mounted(engine, mount, "sleep 600")
    try:
        assert inside(engine, f"cat {file}", user="12345:12345") == "first"
        for attempt in (f"echo x > {file}", f"rm {file}", "touch /share/x", f"chmod 777 {file}"):
            assert "Read-only file system" in inside(engine, attempt, user="0:0"), attempt
        inside(engine, f"exec 3< {file}; sleep 3; cat <&3 > /tmp/read &", user="0:0")
        share.lay_out(order("b"), make_snapshot(tmp_path / "two", "second"))
        assert inside(engine, f"cat {file}", user="12345:12345") == "second"
        share.retire([])
        assert "No such file" in inside(engine, f"cat {file}", user="12345:12345")
        assert inside(engine, "sleep 4; cat /tmp/read", user="0:0") == "first"
    finally:
        engine.run("docker", "rm", "--force", "reader")


def order(digit: str) -> ShareOrder:
    return ShareOrder(kind="model", repo="ada/model", sha=digit * 40, size_bytes=5)


def inside(engine, command: str, *, user: str) -> str:
    """Run a shell command in the running container; return all it said."""
    done = subprocess.run(
        ["docker", "exec", "--user", user, "reader", "sh", "-c", command],
        env=engine.env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return done.stdout


def run(engine, home, command: str) -> str:
    """Run a shell command in a container that has the home as /root; return all it said."""
    return run_mounted(engine, (f"{home}:/root", "--rm"), command)


def run_mounted(engine, mount: tuple[str, ...], command: str) -> str:
    """Run a shell command in a container with a folder mounted; return all it said."""
    done = subprocess.run(
        ["docker", "run", "--network", "none", "--volume", *mount, BASE, "sh", "-c", command],
        env=engine.env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=300,
        check=False,
    )
    return done.stdout
