"""The kernels are compiled once, whole or not at all, and their lack is one sentence."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.serve.cpu import KernelsUnavailable, is_available
from engine.serve.cpu.build import build_library

# A compiler that notes each call and takes its time, so that two builds meet.
SLOW_COMPILER = """#!/bin/sh
if [ "$1" = --version ]; then echo slow 1; exit 0; fi
echo call >> "$CALLS"
for last; do :; done
printf half > "$last"
sleep 0.3
printf ' whole' >> "$last"
exit ${STATUS:-0}
"""


@pytest.fixture
def slow_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a stand-in for g++ alone on PATH and an empty cache beside it; returns its calls."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "g++").write_text(SLOW_COMPILER)
    (tools / "g++").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    return tmp_path / "calls"


def test_the_cache_is_where_the_user_keeps_caches_and_is_used_again(slow_compiler, tmp_path):
    library = build_library()
    assert library.is_relative_to(tmp_path / "cache" / "athanor")
    assert library.read_text() == "half whole"
    assert build_library() == library
    assert slow_compiler.read_text().count("call") == 1
    assert build_library("scalar") != library


def test_two_at_once_compile_once_and_see_only_what_is_whole(slow_compiler):
    code = "from engine.serve.cpu.build import build_library; print(build_library().read_text())"

    def build(_: int) -> str:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        return done.stdout + done.stderr

    with ThreadPoolExecutor() as pool:
        assert list(pool.map(build, range(2))) == ["half whole\n"] * 2
    assert slow_compiler.read_text().count("call") == 1


def test_a_compiler_that_fails_leaves_nothing_behind(slow_compiler, tmp_path, monkeypatch):
    monkeypatch.setenv("STATUS", "3")
    with pytest.raises(KernelsUnavailable, match="ended with 3 on the kernels"):
        build_library()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.suffix in (".so", ".part")]


def test_no_compiler_is_said_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    available = is_available()
    assert not available
    assert "no C++ compiler is on PATH" in available.why_not
    with pytest.raises(KernelsUnavailable, match="install g\\+\\+"):
        build_library()


def test_a_cache_that_cannot_be_written_is_said_in_a_sentence(slow_compiler, tmp_path):
    (tmp_path / "cache").write_text("no folder, not for root either")
    with pytest.raises(KernelsUnavailable, match="cannot hold compiled kernels"):
        build_library()
