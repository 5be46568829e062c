"""Compile the C++ of `native/` for this processor once, and find what was compiled before.

The library links nothing of Python or torch, so it depends only on its sources, the compiler and
the processor: these name the file in the user's cache.
"""

import fcntl
import functools
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.runtime import find_cache_folder

Simd = Literal["native", "avx2", "scalar"]

_LOG = logging.getLogger(__name__)
_SOURCES = Path(__file__).parent / "native"
_COMPILERS = ("g++", "clang++", "c++")
_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-pthread", "-fvisibility=hidden")
# The order of every sum is written out in the kernels: no multiply and add is joined that is not
# joined in all of their shapes.
_EXACT = ("-ffp-contract=off", "-fno-math-errno")
_TARGETS = {"native": "native", "avx2": "x86-64-v3", "scalar": "x86-64"}
_LONGEST_S = 300.0


class KernelsUnavailable(Exception):
    """The C++ decoder cannot be had here; the message is one sentence why."""


@dataclass(frozen=True)
class Availability:
    """Whether the C++ decoder can be compiled here."""

    is_there: bool
    why_not: str = ""

    def __bool__(self) -> bool:
        return self.is_there


def is_available() -> Availability:
    """Say whether this machine can compile the kernels; compiles nothing."""
    if sys.platform != "linux":
        return Availability(False, f"the C++ decoder runs on Linux, and this is {sys.platform}.")
    if _find_compiler() is None:
        names = ", ".join(_COMPILERS)
        return Availability(False, f"no C++ compiler is on PATH (looked for {names}): install g++.")
    return Availability(True)


def build_library(simd: Simd = "native") -> Path:
    """Return the compiled library; compiles it when this is the first use, within a minute.

    `simd` other than native is for tests, of what older processors run.

    Raises:
        KernelsUnavailable: there is no compiler, or it failed.
    """
    availability = is_available()
    if not availability:
        raise KernelsUnavailable(availability.why_not)
    compiler = _find_compiler()
    assert compiler is not None
    command = [compiler, *_FLAGS, *_EXACT, f"-march={_TARGETS[simd]}"]
    folder = find_cache_folder() / "kernels"
    library = folder / f"{_name_build(tuple(command))}.so"
    if library.exists():
        return library
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Another process may be compiling the same: wait for it rather than do it twice.
        with library.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not library.exists():
                _compile(command, library)
    except OSError as error:
        raise KernelsUnavailable(f"{folder} cannot hold compiled kernels: {error}.") from error
    return library


def _find_compiler() -> str | None:
    return next((path for name in _COMPILERS if (path := shutil.which(name))), None)


@functools.cache
def _name_build(command: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\0".join(command).encode())
    for path in sorted(_SOURCES.iterdir()):
        if path.suffix in (".h", ".cpp"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    version = subprocess.run([command[0], "--version"], capture_output=True, check=False).stdout
    digest.update(version + _describe_processor().encode())
    return digest.hexdigest()[:32]


def _describe_processor() -> str:
    """Return what `-march=native` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = ("flags", "Features", "model\t", "cpu family")
    return platform.machine() + "".join(sorted({x for x in lines if x.startswith(names)}))


def _compile(command: list[str], library: Path) -> None:
    started = time.monotonic()
    sources = [str(path) for path in sorted(_SOURCES.glob("*.cpp"))]
    # Under its own name until it is whole: what has the final name is never half written.
    handle, partial = tempfile.mkstemp(dir=library.parent, suffix=".part")
    os.close(handle)
    try:
        done = subprocess.run(
            [*command, *sources, "-o", partial],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LONGEST_S,
            check=False,
        )
        if done.returncode != 0:
            said = next((line for line in done.stderr.splitlines() if "error" in line), "")
            raise KernelsUnavailable(
                f"{command[0]} ended with {done.returncode} on the kernels: {said or done.stderr}"
            )
        os.replace(partial, library)
    except subprocess.TimeoutExpired as error:
        raise KernelsUnavailable(
            f"{command[0]} did not end within {_LONGEST_S:.0f} s on the kernels."
        ) from error
    finally:
        Path(partial).unlink(missing_ok=True)
    _LOG.info("compiled the decoder's kernels in %.1f s", time.monotonic() - started)
