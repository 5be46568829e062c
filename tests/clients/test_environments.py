"""`athanor env` on a real shared environment: a clone is one's own, and the shared one stays."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from workers.environments.store import EnvironmentStore, Facts

SHOWN = ".athanor-env.json"


def make_wheel(folder: Path, version: str) -> Path:
    """Make a wheel of `hues`, a module with a program of its own."""
    path = folder / f"hues-{version}-py3-none-any.whl"
    files = {
        "hues/__init__.py": f"import sys\ndef main():\n    print('hues {version}', sys.prefix)\n",
        f"hues-{version}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: hues\nVersion: {version}\n"
        ),
        f"hues-{version}.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
        f"hues-{version}.dist-info/entry_points.txt": "[console_scripts]\nhues = hues:main\n",
    }
    record = f"hues-{version}.dist-info/RECORD"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
        wheel.writestr(record, "".join(f"{name},,\n" for name in [*files, record]))
    return path


def call(*words: object, fails: bool = False) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=60)
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stdout + done.stderr


def publish(store: EnvironmentStore, name: str, made: Path, change=lambda tree: None) -> Facts:
    """Publish a copy of an environment, as one made for the path at which the store shows it."""
    with store.draft(name) as (version, folder):
        tree = folder / "made"
        shutil.copytree(made, tree, symlinks=True)
        for path in [*tree.glob("bin/*"), tree / "pyvenv.cfg"]:
            if not path.is_symlink():
                text = path.read_text().replace(str(made), store.prefix_of(name, version))
                path.write_text(text)
        change(tree)
        return store.publish(name, version, tree, about="for tests")


def make_older(tree: Path) -> None:
    """Have an environment look as if it had another version of the package."""
    module = next(tree.glob("lib/python3*/site-packages/hues")) / "__init__.py"
    module.write_text(module.read_text().replace("1.0", "0.9"))
    shutil.rmtree(module.parent / "__pycache__")


def tell_state(folder: Path) -> dict[str, tuple[int, int]]:
    found = ((str(each), each.lstat()) for each in sorted(folder.rglob("*")))
    return {name: (stat.st_mtime_ns, stat.st_size) for name, stat in found}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("1.0", "2.0"):
        make_wheel(folder, version)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, wheels) -> Path:
    """An environment with pip and a package."""
    folder = tmp_path_factory.mktemp("made") / "env"
    call(sys.executable, "-I", "-m", "venv", folder)
    words = ("install", "--no-index", "--no-deps", wheels / "hues-1.0-py3-none-any.whl")
    call(folder / "bin" / "pip", "--disable-pip-version-check", *words)
    return folder


@pytest.fixture(scope="module")
def envs(tmp_path_factory, made) -> Path:
    folder = tmp_path_factory.mktemp("share") / "envs"
    publish(EnvironmentStore(folder, str(folder)), "lab", made)
    return folder


@pytest.fixture
def here(lone, envs):
    """The command in a machine whose node has these environments."""

    def run(*words: str, **more) -> str:
        return lone("env", *words, **({"ATHANOR_ENVS_DIR": str(envs)} | more))

    run.home = lone.home
    return run


def test_what_there_is_is_listed(here, lone):
    assert "lab" in here("list") and "for tests" in here("list")
    (found,) = json.loads(here("list", "--json"))
    assert (found["name"], found["kind"], found["python"]) == (
        "lab",
        "venv",
        f"3.{sys.version_info.minor}",
    )
    assert found["num_packages"] >= 1 and found["num_bytes"] > 1000
    assert "no shared environments" in lone("env", "list", ATHANOR_ENVS_DIR="/none")


@pytest.mark.parametrize("how", [(), ("--full",)])
def test_what_is_installed_into_a_clone_is_its_own(here, envs, wheels, how):
    before = tell_state(envs)
    clone = Path(json.loads(here("clone", "lab", "--json", *how))["path"])
    assert clone == here.home / "envs" / "lab"
    assert call(clone / "bin" / "hues") == f"hues 1.0 {clone}\n"
    script = (clone / "bin" / "hues").read_text()
    assert script.startswith(f"#!{clone}/bin/python") and str(envs) not in script
    pip = (clone / "bin" / "pip", "--disable-pip-version-check", "install", "--no-index")
    assert "already satisfied" in call(*pip, "--find-links", wheels, "hues==1.0")
    call(*pip, "--find-links", wheels, "hues==2.0")
    assert call(clone / "bin" / "hues") == f"hues 2.0 {clone}\n"
    file = call(clone / "bin" / "python", "-c", "import hues; print(hues.__file__)").strip()
    assert Path(file).is_relative_to(clone)
    assert tell_state(envs) == before
    assert call((envs / "lab").resolve() / "bin" / "hues").startswith("hues 1.0")


def test_a_clone_stays_with_its_version_and_says_so_where_that_is_missing(here, made, tmp_path):
    folder = tmp_path / "share" / "envs"
    store = EnvironmentStore(folder, str(folder))
    first = publish(store, "lab", made, make_older)
    there = {"ATHANOR_ENVS_DIR": str(folder)}
    old, new, named = (here.home / name for name in ("old", "new", "named"))
    here("clone", "lab", str(old), **there)
    second = publish(store, "lab", made)
    assert second.version != first.version and store.current("lab") == second.version
    here("clone", "lab", str(new), **there)
    here("clone", f"lab@{first.version}", str(named), **there)
    for clone, version in ((old, "0.9"), (new, "1.0"), (named, "0.9")):
        assert call(clone / "bin" / "hues") == f"hues {version} {clone}\n"
    store.remove("lab", first.version)
    said = call(old / "bin" / "python", "-c", "import hues", fails=True)
    assert f"lab {first.version} is not on this node" in said and "No module named" in said


@pytest.mark.parametrize("how", [(), ("--full",)])
@pytest.mark.parametrize("name", ["a b", "long" * 40])
def test_a_path_with_spaces_or_of_great_length_works(here, how, name):
    clone = here.home / name
    here("clone", "lab", str(clone), *how)
    assert call(clone / "bin" / "hues") == f"hues 1.0 {clone}\n"


def test_an_environment_without_pip_has_one_in_its_clones(here, made, tmp_path):
    folder = tmp_path / "share" / "envs"

    def remove_pip(tree: Path) -> None:
        for path in [*tree.glob("lib/python3*/site-packages/pip*"), *tree.glob("bin/pip*")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    publish(EnvironmentStore(folder, str(folder)), "bare", made, remove_pip)
    clone = Path(json.loads(here("clone", "bare", "--json", ATHANOR_ENVS_DIR=str(folder)))["path"])
    assert str(clone) in call(clone / "bin" / "pip", "--version")


def test_a_notebook_kernel_wants_ipykernel_and_is_written_where_jupyter_looks(here):
    said = here("clone", "lab", "--kernel", fails=True)
    assert "no ipykernel" in said and not (here.home / "envs").exists()
    here("clone", "lab")
    clone = here.home / "envs" / "lab"
    package = next(clone.glob("lib/python3*/site-packages")) / "ipykernel"
    package.mkdir()
    (package / "__init__.py").touch()
    here("kernel", str(clone), "--name", "My Lab 我")
    (found,) = (here.home / ".local" / "share" / "jupyter" / "kernels").glob("*/kernel.json")
    spec = json.loads(found.read_text())
    assert found.parent.name == "my-lab" and spec["display_name"] == "My Lab 我"
    assert spec["argv"][0] == str(clone / "bin" / "python")
    assert "no environment" in here("kernel", "/none", fails=True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("clone", "none"), "env list"),
        (("clone", "../lab"), "env list"),
        (("clone", "lab@9"), "env list"),
        (("clone", "lab", "/proc/x/y"), "cannot be made"),
        (("clone", "lab", "/dev/null/x"), "cannot be made"),
        (("clone", "lab", "a:b"), "has ':' in it"),
    ],
)
def test_what_cannot_be_cloned_is_one_sentence(here, words, told):
    said = here(*words, fails=True)
    assert told in said and len(said.strip().splitlines()) == 1


def test_nothing_that_is_there_is_written_over(here):
    (here.home / "envs" / "lab").mkdir(parents=True)
    here("clone", "lab")  # into an empty folder
    assert "is there already" in here("clone", "lab", fails=True)
    assert (here.home / "envs" / "lab" / "bin" / "hues").exists()


def test_a_clone_that_fails_leaves_nothing(here, envs, tmp_path):
    folder = tmp_path / "envs"
    version = folder / ".versions" / "odd" / "20260101.1"
    (version / "bin").mkdir(parents=True)
    facts = json.loads((envs / "lab" / SHOWN).read_text())
    (version / SHOWN).write_text(json.dumps(facts | {"name": "odd"}))
    (version / "bin" / "python").symlink_to("/usr/bin/no-such-python")
    (folder / "odd").symlink_to(".versions/odd/20260101.1")
    said = here("clone", "odd", fails=True, ATHANOR_ENVS_DIR=str(folder))
    assert "another image" in said and len(said.strip().splitlines()) == 1
    assert not (here.home / "envs" / "odd").exists()
