"""What lies at /share: whole commits, never half of one, and nothing that was not chosen."""

import os
import stat
import time
from pathlib import Path

import pytest

from workers.orders import ShareOrder
from workers.share import ShareDir

DAY = 86_400.0


def order(repo: str = "ada/model", sha: str = "a", kind: str = "model") -> ShareOrder:
    return ShareOrder(kind=kind, repo=repo, sha=sha * 40, size_bytes=5)


@pytest.fixture
def share(tmp_path) -> ShareDir:
    share = ShareDir(tmp_path / "share")
    share.create()
    return share


def make_snapshot(folder: Path, text: str = "hello") -> Path:
    """Lay a commit out as huggingface_hub's cache does."""
    blobs, snapshot = folder / "blobs", folder / "snapshots" / "x"
    blobs.mkdir(parents=True)
    (snapshot / "sub").mkdir(parents=True)
    (blobs / "0123").write_text(text)
    (snapshot / "README.md").symlink_to("../../blobs/0123")
    (snapshot / "sub" / "权重 1.bin").symlink_to("../../../blobs/0123")
    return snapshot


def test_a_commit_is_laid_out_for_everybody_to_read_at_no_cost_of_disk(share, tmp_path):
    snapshot = make_snapshot(tmp_path / "cache")
    assert not share.holds(order())
    share.lay_out(order(), snapshot)
    assert share.holds(order()) and not share.holds(order(sha="b"))
    shown = tmp_path / "share" / "models" / "ada" / "model"
    assert (shown / "sub" / "权重 1.bin").read_text() == "hello"
    file = (shown / "README.md").stat()
    assert stat.S_IMODE(file.st_mode) == 0o444 and not (shown / "README.md").is_symlink()
    assert file.st_ino == (tmp_path / "cache" / "blobs" / "0123").stat().st_ino
    for folder in (tmp_path / "share", shown.parent, shown, shown / "sub"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_links_hold_wherever_the_folder_is_mounted(share, tmp_path):
    share.lay_out(order(), make_snapshot(tmp_path / "cache"))
    (tmp_path / "share").rename(tmp_path / "elsewhere")
    assert (tmp_path / "elsewhere/models/ada/model/README.md").read_text() == "hello"


def test_a_new_commit_takes_the_place_and_who_reads_the_old_one_can_go_on(share, tmp_path):
    share.lay_out(order(), make_snapshot(tmp_path / "one"))
    shown = tmp_path / "share/models/ada/model"
    reading = shown.resolve()
    share.lay_out(order(sha="b"), make_snapshot(tmp_path / "two", "news"))
    assert (shown / "README.md").read_text() == "news"
    share.retire([order(sha="b")])
    assert (reading / "README.md").read_text() == "hello"
    then = time.time() - 2 * DAY
    os.utime(reading, (then, then))
    share.retire([order(sha="b")])
    assert not reading.exists() and (shown / "README.md").read_text() == "news"


def test_what_is_not_wanted_is_out_of_sight_at_once_and_gone_a_day_later(share, tmp_path):
    share.lay_out(order(), make_snapshot(tmp_path / "one"))
    share.lay_out(order("bob/data", kind="dataset"), make_snapshot(tmp_path / "two"))
    share.retire([order()])
    assert not (tmp_path / "share/datasets/bob").exists()
    (files,) = (tmp_path / "share/.revisions").glob("datasets--bob--data/*")
    then = time.time() - 2 * DAY
    os.utime(files, (then, then))
    share.retire([order()])
    assert [path.name for path in (tmp_path / "share/.revisions").iterdir()] == [
        "models--ada--model"
    ]
    assert share.holds(order())


def test_what_a_kill_left_half_made_is_never_shown_and_is_cleared(share, tmp_path):
    partial = tmp_path / "share/.revisions/.new-models--ada--model-aaaa"
    partial.mkdir()
    (tmp_path / "share/models/ada").mkdir(parents=True)
    (tmp_path / "share/models/ada/.model.part").symlink_to("nowhere")
    share.create()
    assert not partial.exists() and not share.holds(order())
    share.lay_out(order(), make_snapshot(tmp_path / "cache"))
    assert share.holds(order())


@pytest.mark.parametrize("repo", ["../up", "a/..", "a/.hidden", "a", "/a/b", "a/b/c", "a/b\n", ""])
def test_a_repo_that_could_lead_out_is_no_order(repo):
    with pytest.raises(ValueError, match="repo"):
        order(repo)
