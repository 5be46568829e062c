"""A node's prebuilt environments: seen whole or not at all, and never changed afterwards."""

import io
import json
import stat
import tarfile
from pathlib import Path

import pytest

from workers.environments.__main__ import main
from workers.environments.build import Recipe, _pack, _unpack, build_environment
from workers.environments.store import FACTS, EnvironmentFault, EnvironmentStore
from workers.errors import WorkerError


@pytest.fixture
def store(tmp_path) -> EnvironmentStore:
    return EnvironmentStore(tmp_path / "share" / "envs")


def make_tree(folder: Path, prefix: str, kind: str = "venv") -> Path:
    """Lay out what a virtual environment for a path looks like."""
    tree = folder / "made"
    packages = tree / "lib" / "python3.11" / "site-packages"
    (packages / "hues-1.0.dist-info").mkdir(parents=True)
    (packages / "hues.py").write_text("VERSION = 1\n")
    (packages / "hues.cpython-311.pyc").write_bytes(b"\0" + prefix.encode())
    (tree / "bin").mkdir()
    (tree / "bin" / "python").symlink_to("/usr/bin/python3")
    (tree / "bin" / "hues").write_text(f"#!{prefix}/bin/python\n")
    (tree / "bin" / "hues").chmod(0o4777)
    (tree / "lib" / "native.so").write_bytes(b"\x7fELF\0" + prefix.encode() + b"\0\0")
    if kind == "conda":
        (tree / "conda-meta").mkdir()
    else:
        (tree / "pyvenv.cfg").write_text("home = /usr/bin\n")
    return tree


def publish(store: EnvironmentStore, name: str = "lab", kind: str = "venv"):
    with store.draft(name) as (version, folder):
        tree = make_tree(folder, store.prefix_of(name, version), kind)
        return store.publish(name, version, tree, about="for tests")


@pytest.mark.parametrize("kind", ["venv", "conda"])
def test_a_version_is_shown_whole_for_everybody_to_read(store, tmp_path, kind):
    facts = publish(store, kind=kind)
    shown = tmp_path / "share" / "envs" / "lab"
    assert shown.is_symlink() and not shown.readlink().is_absolute()
    assert json.loads((shown / FACTS).read_text())["version"] == facts.version
    assert (facts.kind, facts.python, facts.num_packages) == (kind, "3.11", 1)
    assert facts.text_with_prefix == ["bin/hues"]
    assert facts.binary_with_prefix == ["lib/native.so"]
    for path in [shown.resolve(), *shown.resolve().rglob("*")]:
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            assert mode in {0o755, 0o644, 0o444}, (path, oct(mode))
    assert not list((tmp_path / "share" / "envs").glob(".new-*"))


def test_a_name_stands_for_the_newest_version_and_for_another_if_told(store):
    first, second = publish(store), publish(store)
    assert [facts.version for facts, _ in store.list_all()] == [second.version, first.version]
    assert store.current("lab") == second.version
    store.use("lab", first.version)
    assert store.current("lab") == first.version
    with pytest.raises(EnvironmentFault, match="stands for"):
        store.remove("lab", first.version)
    store.remove("lab", second.version)
    assert [facts.version for facts, _ in store.list_all()] == [first.version]
    store.remove("lab")
    assert store.current("lab") is None
    assert [facts.version for facts, _ in store.list_all()] == [first.version]
    assert publish(store).version > first.version


def test_what_is_no_environment_is_not_shown(store, tmp_path):
    with (
        pytest.raises(EnvironmentFault, match="no Python environment"),
        store.draft("lab") as (version, folder),
    ):
        (folder / "made" / "bin").mkdir(parents=True)
        store.publish("lab", version, folder / "made")
    assert store.current("lab") is None and list(store.list_all()) == []
    assert not list((tmp_path / "share" / "envs").glob(".new-*"))


def test_what_a_kill_left_is_swept_and_two_do_not_build_at_once(store, tmp_path):
    store.create()
    left = tmp_path / "share" / "envs" / ".new-lab-20260101.1"
    left.mkdir()
    with store.draft("lab"):
        assert not left.exists()
        with pytest.raises(WorkerError, match="Another"), store.draft("other"):
            pass


@pytest.mark.parametrize("name", ["", "..", "../x", "Lab", "-x", "a/b", "x" * 64, "lab\n"])
def test_a_name_that_would_lead_elsewhere_is_refused(store, name):
    for attempt in (store.next_version, store.remove, lambda n: store.use(n, "20260101.1")):
        with pytest.raises(EnvironmentFault):
            attempt(name)


def test_an_archive_that_leads_out_of_its_folder_is_refused(tmp_path):
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w") as tar:
        for name in ("env/ok", "../evil"):
            member = tarfile.TarInfo(name)
            member.size = 1
            tar.addfile(member, io.BytesIO(b"x"))
    (tmp_path / "out").mkdir()
    content = kept.getvalue()
    pieces = (content[at : at + 700] for at in range(0, len(content), 700))
    with pytest.raises(tarfile.TarError):
        _unpack(pieces, tmp_path / "out")
    assert not (tmp_path / "evil").exists()


def test_what_goes_in_is_root_s_and_readable(tmp_path):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "a.whl").write_bytes(b"a")
    (tmp_path / "requirements.txt").write_text("hues\n")
    recipe = Recipe(tmp_path / "requirements.txt", image="i", wheels=tmp_path / "wheels")
    with tarfile.open(fileobj=_pack(recipe)) as tar:
        members = {each.name: each for each in tar}
    assert set(members) == {"build/recipe", "build/wheels", "build/wheels/a.whl"}
    assert {(each.uid, each.gid) for each in members.values()} == {(0, 0)}


def test_an_engine_that_is_away_is_told_and_nothing_is_left(store, tmp_path):
    (tmp_path / "requirements.txt").write_text("hues\n")
    recipe = Recipe(tmp_path / "requirements.txt", image="i")
    with pytest.raises(EnvironmentFault, match="cannot be built"):
        build_environment(store, "lab", recipe, host=f"unix://{tmp_path}/none.sock")
    assert not list((tmp_path / "share" / "envs").glob(".new-*"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("build", "lab", "/none.txt", "--image", "i"), "/none.txt is no file"),
        (("build", "lab", "/none.txt", "--image", "i", "--env", "X"), "NAME=VALUE"),
        (("use", "lab", "20260101.1"), "no version"),
        (("remove", "lab"), "no environment"),
    ],
)
def test_what_an_operator_gets_wrong_is_one_sentence(tmp_path, capsys, words, told):
    assert main(["--node-dir", str(tmp_path), *words]) == 1
    said = capsys.readouterr().err
    assert told in said and len(said.strip().splitlines()) == 1


def test_versions_are_listed_for_operators(store, tmp_path, capsys):
    facts = publish(store)
    assert main(["--node-dir", str(tmp_path), "list"]) == 0
    assert f"* lab {facts.version}: Python 3.11" in capsys.readouterr().out
    assert main(["--node-dir", str(tmp_path), "list", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["is_current"] and found["about"] == "for tests"
