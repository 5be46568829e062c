"""What a node has mounted ends with it, or is swept once it is gone; machines keep theirs."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workers.machines.binds import bind, is_mounted, list_mounted, unbind
from workers.machines.leftovers import note_node, sweep_leftovers
from workers.machines.scratch import ScratchDisks

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(120)]
MIB = 2**20


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[ScratchDisks]:
    if os.geteuid() != 0 or not ScratchDisks.is_able():
        pytest.fail("mounting needs root and mkfs.ext4: run `make provision`")
    yield ScratchDisks(tmp_path / "files", tmp_path / "points")
    for point in reversed(list_mounted(tmp_path)):
        unbind(point)


@contextmanager
def held(point: Path) -> Iterator[subprocess.Popen[str]]:
    """Have a disk mounted elsewhere too, as a container has, and write into it on a word."""
    own = point.parent.parent / "machine"
    own.mkdir()
    write = f"while read word; do echo $word >> {own}/said; echo done; done"
    work = f"mount --bind {point} {own} && umount {point} && echo up && {write}"
    holder = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", work],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout and holder.stdout.readline() == "up\n"
    yield holder
    holder.kill()
    holder.wait()


def say(holder: subprocess.Popen[str], word: str) -> None:
    assert holder.stdin and holder.stdout
    holder.stdin.write(f"{word}\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "done\n"


def list_devices(file: Path) -> list[str]:
    listed = subprocess.run(["losetup", "-j", str(file)], capture_output=True, text=True)
    return listed.stdout.splitlines()


def test_a_node_that_ends_leaves_none_mounted_and_shows_the_same_again(disks, tmp_path):
    point = disks.show("box-1", 32 * MIB, owner=0)
    with held(point) as machine:
        say(machine, "before")
        disks.hide_all()
        assert list_mounted(tmp_path) == []
        say(machine, "between")
        disks.show_all()
        say(machine, "after")
        # The very disk that the machine has, or the two would write over each other.
        assert (point / "said").read_text() == "before\nbetween\nafter\n"
        assert len(list_devices(tmp_path / "files" / "box-1")) == 1
        assert disks.measure()["box-1"] > 0
    disks.remove_all_but([])
    assert list_mounted(tmp_path) == [] and not list((tmp_path / "files").iterdir())


def test_a_disk_that_nobody_has_is_let_go_of_with_the_node(disks, tmp_path):
    disks.show("box-1", 32 * MIB, owner=0)
    disks.hide_all()
    assert list_devices(tmp_path / "files" / "box-1") == []


def test_what_a_deleted_node_left_is_swept_and_that_of_others_is_not(disks, tmp_path):
    folders = {name: tmp_path / "run" / name for name in ("own", "gone", "other", "foreign")}
    for name in ("own", "gone", "other"):
        (tmp_path / name).mkdir()
        note_node(folders[name], tmp_path / name)
        bind(tmp_path / name, folders[name] / "homes")
    bind(tmp_path / "own", folders["foreign"] / "homes")  # no word of whose it is
    bind(tmp_path / "other", folders["gone"] / "homes" / "upon")
    shutil.rmtree(tmp_path / "gone", ignore_errors=True)
    if (tmp_path / "gone").is_dir():  # what is mounted upon it in this test keeps it
        (tmp_path / "gone").rename(tmp_path / "moved")
    sweep_leftovers(folders["own"])
    assert not folders["gone"].exists()
    for name in ("own", "other", "foreign"):
        assert is_mounted(folders[name] / "homes"), name
