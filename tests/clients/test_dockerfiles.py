"""The machine images' Dockerfiles as texts: what they copy is there, and what they name is made."""

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "workers" / "images"
NAMES = ("machine", "cuda")


def read_lines(name: str) -> list[str]:
    text = (FOLDER / name / "Dockerfile").read_text()
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return [" ".join(line.split()) for line in kept.replace("\\\n", " ").splitlines() if line]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_copied_from_the_repository_is_there(name):
    copied = [line.split()[1:-1] for line in read_lines(name) if line.startswith("COPY")]
    sources = [each for words in copied if not words[0].startswith("--") for each in words]
    assert "engine" in sources and "deploy/wheels" in sources
    for source in sources:
        assert list(ROOT.glob(source)), source
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not {source.partition("/")[0] for source in sources} & set(ignored)


@pytest.mark.parametrize("name", NAMES)
def test_every_stage_that_is_named_has_been_made_before(name):
    made: set[str] = set()
    for line in read_lines(name):
        if found := re.fullmatch(r"FROM (\S+)(?: AS (\S+))?", line):
            assert found[1] in made or found[1] in {"${BASE}", "${MACHINE}"}, line
            made.add(found[2] or "")
        for stage in re.findall(r"--from=(\S+)", line):
            assert stage in made, line


@pytest.mark.parametrize("name", NAMES)
def test_every_variable_is_declared_in_its_stage(name):
    declared: set[str] = set()
    for line in read_lines(name):
        if line.startswith("FROM"):
            declared = set()
        declared |= set(re.findall(r"^ARG (\w+)", line))
        # $shell and $1 are the shell's own; what a build is given is written with braces.
        for used in re.findall(r"\$\{(\w+)", line):
            assert used in declared or line.startswith("FROM"), line


def test_the_cuda_image_is_the_machine_s_with_the_engine():
    lines = read_lines("cuda")
    assert [line for line in lines if line.startswith("FROM")][-1] == "FROM ${MACHINE}"
    assert "RUN sh /build/engine.sh" in lines
    assert "ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility" in lines
    assert not any("NVIDIA_VISIBLE_DEVICES" in line for line in lines)  # the engine says which


def test_the_machine_s_image_has_the_engine_unless_it_is_told_not_to():
    lines = read_lines("machine")
    assert "ARG ENGINE=1" in lines
    stage = lines[lines.index("FROM python AS python-chosen") :]
    assert {"ARG ENGINE", "ARG TORCH_INDEX"} <= set(stage[: stage.index("FROM system AS tools")])
    assert not any("TORCH_INDEX" in line for line in read_lines("cuda"))


@pytest.fixture
def build(tmp_path):
    """`build(**env)` runs engine.sh in a made-up image; what it asked of pip, or what it said."""
    python = tmp_path / "opt" / "bin"
    python.mkdir(parents=True)
    packages = tmp_path / "packages"
    packages.mkdir()
    (tmp_path / "engine").mkdir()
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (python / "pip").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/asked\n')
    (python / "python").write_text(f"#!/bin/sh\necho {packages}\n")
    for each in python.iterdir():
        each.chmod(0o755)
    script = (FOLDER / "machine" / "engine.sh").read_text()
    script = script.replace("/opt/python", str(tmp_path / "opt")).replace("/build", str(tmp_path))

    def run(**env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", script], env={**os.environ, **env}, text=True, capture_output=True
        )

    run.folder, run.packages = tmp_path, packages
    return run


def test_the_engine_s_stage_asks_for_what_the_docs_promise(build):
    built = build(TORCH_INDEX="https://torch.test/cpu")
    assert built.returncode == 0, built.stderr
    asked = (build.folder / "asked").read_text().splitlines()
    assert asked[asked.index("--extra-index-url") + 1] == "https://torch.test/cpu"
    wanted = (build.folder / "engine.txt").read_text().splitlines()
    assert "datasets" in wanted
    assert {"torch", "transformers"} <= {re.split("[=<>]", each)[0] for each in wanted}
    build(TORCH_INDEX="")
    assert "--extra-index-url" not in (build.folder / "asked").read_text()


def test_no_second_pytorch_is_laid_over_one(build):
    (build.packages / "torch").mkdir()
    refused = build()
    assert refused.returncode == 1 and "--build-arg ENGINE=" in refused.stderr


def test_what_people_find_in_the_image_is_at_the_versions_of_the_lock():
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    todo, seen = ["datasets"], set()
    while todo:  # what it brings by its own metadata, all the way down
        name = canonicalize_name(todo.pop())
        if name in seen:
            continue
        seen.add(name)
        for line in metadata.requires(name) or ():
            needed = Requirement(line)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                todo.append(needed.name)
    assert seen <= {canonicalize_name(name) for name in pins}
    held = (FOLDER / "machine" / "python.txt").read_text().splitlines()
    here = dict(line.split("==") for line in held if "==" in line)
    both = {name: pins[name] for name in here if name in pins}
    assert both == {name: here[name] for name in both} and "huggingface_hub" in both


def test_the_scripts_are_read_by_a_shell():
    scripts = sorted(FOLDER.glob("*/*.sh"))
    assert len(scripts) == 3
    for script in scripts:
        subprocess.run(["sh", "-n", str(script)], check=True)


def test_the_engine_understands_what_its_image_asks_it_at_the_end():
    (asked,) = re.findall(r"python (-m engine .*) > ", (FOLDER / "machine/engine.sh").read_text())
    subprocess.run([sys.executable, *asked.split()], check=True, capture_output=True, cwd=ROOT)
