"""The node's cache keeps to its limit, and keeps what runs use, whatever was used longest ago."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.cache import NodeCache, list_repos_of

HOUR = 3600.0


def add(cache: Path, repo_id: str, size: int, *, age_h: float, kind: str = "model") -> Path:
    """Lay a repo out as huggingface_hub does: a blob, a snapshot that links to it, a ref."""
    folder = cache / f"{kind}s--{repo_id.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("a" * 40)
    for each in (folder / "blobs", folder / "refs", snapshot):
        each.mkdir(parents=True)
    blob = folder / "blobs" / "0123"
    blob.write_bytes(bytes(size))
    (snapshot / "model.safetensors").symlink_to(blob)
    (folder / "refs" / "main").write_text("a" * 40)
    then = time.time() - age_h * HOUR
    os.utime(blob, (then, then))
    return folder


def test_the_least_recently_used_goes_first_until_the_rest_fits(tmp_path):
    old, middle, new = (
        add(tmp_path, name, 1000, age_h=age)
        for name, age in (("a/old", 9), ("a/mid", 5), ("a/new", 2))
    )
    usage = NodeCache(tmp_path, limit_bytes=2000).shrink(set)
    assert (old.exists(), middle.exists(), new.exists()) == (False, True, True)
    assert (usage.size_bytes, usage.limit_bytes, usage.num_repos) == (2000, 2000, 2)


def test_what_is_in_use_stays_and_counts_as_used_from_then_on(tmp_path):
    used, other = add(tmp_path, "a/used", 1000, age_h=9), add(tmp_path, "a/other", 1000, age_h=5)
    cache = NodeCache(tmp_path, limit_bytes=1500)
    cache.shrink(lambda: {("model", "a/used")})
    assert used.exists() and not other.exists()
    add(tmp_path, "a/other", 1000, age_h=5)
    cache.shrink(set)  # its run has ended, and it was used later than the other
    assert used.exists() and not other.exists()


def test_a_dataset_is_not_the_model_of_its_name(tmp_path):
    model = add(tmp_path, "a/x", 1000, age_h=9)
    dataset = add(tmp_path, "a/x", 1000, age_h=9, kind="dataset")
    NodeCache(tmp_path, limit_bytes=1000).shrink(lambda: {("dataset", "a/x")})
    assert dataset.exists() and not model.exists()


def test_what_is_arriving_stays(tmp_path):
    arriving = add(tmp_path, "a/adapter", 1000, age_h=0)
    NodeCache(tmp_path, limit_bytes=1).shrink(set)
    assert arriving.exists()


def test_an_empty_cache_and_one_that_is_not_there_yet_are_no_fault(tmp_path):
    assert NodeCache(tmp_path, limit_bytes=1).shrink(set).num_repos == 0


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(2, 99), st.booleans()), max_size=8),
    st.integers(0, 200),
)
def test_nothing_in_use_goes_and_nothing_goes_without_need(tmp_path_factory, repos, limit):
    cache = tmp_path_factory.mktemp("cache")
    folders, in_use = {}, set()
    for number, (size, age, is_used) in enumerate(repos):
        folders[number] = add(cache, f"a/r{number}", size, age_h=age)
        if is_used:
            in_use.add(("model", f"a/r{number}"))
    usage = NodeCache(cache, limit_bytes=limit or 1).shrink(lambda: in_use)
    left = {number for number, folder in folders.items() if folder.exists()}
    assert {number for number, (_, _, used) in enumerate(repos) if used} <= left
    assert usage.size_bytes == sum(repos[number][0] for number in left)
    gone = set(folders) - left
    if usage.size_bytes > (limit or 1):  # only what is in use is left then
        assert all(repos[number][2] for number in left)
    for number in gone:  # and with it, it would not have fitted
        assert usage.size_bytes + repos[number][0] > (limit or 1) or any(
            repos[other][1] <= repos[number][1] for other in gone - {number}
        )


def test_orders_name_the_repos_that_stay(make_order):
    order = make_order(spec={"kind": "train", "model": "a/m@main", "dataset": "b/d"})
    assert list_repos_of([order, None]) == {("model", "a/m"), ("dataset", "b/d")}
    by_path = make_order(spec={"kind": "train", "model": "/srv/m", "dataset": "b/d"})
    assert list_repos_of([by_path]) == {("dataset", "b/d")}


@pytest.mark.parametrize("limit", [0, 10])
def test_without_a_limit_half_of_the_disk_is_one(tmp_path, limit):
    stat = os.statvfs(tmp_path)
    half = stat.f_blocks * stat.f_frsize // 2
    assert NodeCache(tmp_path, limit).limit_bytes == (limit or half)


def test_an_order_that_comes_during_a_sweep_keeps_its_repo(tmp_path):
    first, second = (add(tmp_path, f"a/{name}", 1000, age_h=9) for name in ("one", "two"))
    asked = []

    def list_in_use() -> set[tuple[str, str]]:
        asked.append(first.exists())
        # The order for the second comes when the sweep has begun.
        return {("model", "a/two")} if len(asked) > 1 else set()

    NodeCache(tmp_path, limit_bytes=1).shrink(list_in_use)
    assert not first.exists() and second.exists()


def test_a_removal_that_was_cut_off_is_ended_by_the_next_sweep(tmp_path):
    gone = add(tmp_path, "a/x", 1000, age_h=9)
    gone.rename(tmp_path / f".gone-{gone.name}")
    NodeCache(tmp_path, limit_bytes=10**6).shrink(set)
    assert not list(tmp_path.glob(".gone-*"))
