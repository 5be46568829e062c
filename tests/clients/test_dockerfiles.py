"""The machine images' Dockerfiles as texts: what they copy is there, and what they name is made."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_the_scripts_are_read_by_a_shell():
    scripts = sorted(FOLDER.glob("*/*.sh"))
    assert len(scripts) == 3
    for script in scripts:
        subprocess.run(["sh", "-n", str(script)], check=True)


def test_the_engine_understands_what_its_image_asks_it_at_the_end():
    (asked,) = re.findall(r"python (-m engine .*) > ", (FOLDER / "machine/engine.sh").read_text())
    subprocess.run([sys.executable, *asked.split()], check=True, capture_output=True, cwd=ROOT)
