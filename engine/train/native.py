"""Compiles the C++ files of `kernels/` for this machine's processor, when they are first used.

A shared library with plain C functions, kept in the user's cache: no header of PyTorch or Python is
needed, and two seconds of a compiler. Where there is none, PyTorch's own operations do the work.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from engine.runtime import get_cache_folder

_SOURCES = Path(__file__).parent / "kernels"
# What -ffast-math is, but for what would take NaN and infinity for numbers: a loss must show them.
_OPTIONS = (
    *("-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared", "-fno-math-errno"),
    *("-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math"),
)
_POINTER, _SIZE, _REAL, _FLAG = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_int
_TAKEN = {
    "attend_forward": (*[_POINTER] * 7, _REAL, _REAL, _SIZE),
    "attend_backward": (*[_POINTER] * 11, _REAL, _REAL, _SIZE),
    "norm_forward": (*[_POINTER] * 4, _SIZE, _SIZE, _REAL, _FLAG, _FLAG),
    "norm_backward": (*[_POINTER] * 6, _SIZE, _SIZE, _SIZE, _FLAG, _FLAG),
    "gate_forward": (*[_POINTER] * 3, _SIZE),
    "gate_backward": (*[_POINTER] * 5, _SIZE),
    "rotate": (_POINTER, _SIZE, _SIZE, _POINTER, _POINTER, _SIZE, _POINTER, *[_SIZE] * 3, _REAL),
    "learn_logits": (*[_POINTER] * 5, _SIZE, _SIZE),
}


@functools.cache
def load_kernels() -> ctypes.CDLL | None:
    """Return the compiled functions; None where no compiler makes them."""
    compiler = shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        print("No C++ compiler (c++ or g++) was found: training is a fifth slower.", flush=True)
        return None
    try:
        library = ctypes.CDLL(str(_compile(compiler)))
    except (OSError, subprocess.CalledProcessError) as error:
        told = getattr(error, "stderr", None) or str(error)
        print(f"Kernels could not be compiled, training is slower: {told[-500:]}", flush=True)
        return None
    for name, taken in _TAKEN.items():
        function = getattr(library, name)
        function.argtypes, function.restype = taken, None
    return library


def suits(*tensors: Tensor) -> bool:
    """Say whether kernels can take these: plain tensors of a processor, and nobody traces them."""
    return (
        all(type(x) in (Tensor, torch.nn.Parameter) and x.device.type == "cpu" for x in tensors)
        and not torch.compiler.is_compiling()
        and load_kernels() is not None
    )


def _compile(compiler: str) -> Path:
    sources = sorted(_SOURCES.iterdir())
    digest = hashlib.sha256(" ".join((compiler, *_OPTIONS, _read_processor())).encode())
    for source in sources:
        digest.update(source.read_bytes())
    name = f"train-{digest.hexdigest()[:16]}.so"
    folder = get_cache_folder() / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_kept = os.access(folder, os.W_OK)
    except OSError:
        is_kept = False
    if not is_kept:
        folder = Path(tempfile.mkdtemp())  # of this process alone
    if not (folder / name).exists():
        handle, made = tempfile.mkstemp(dir=folder, suffix=".so")
        os.close(handle)
        files = [str(source) for source in sources if source.suffix == ".cpp"]
        command = [compiler, *_OPTIONS, *files, "-o", made]
        subprocess.run(command, check=True, capture_output=True, text=True)
        os.replace(made, folder / name)  # whole at once: other processes compile it too
    return folder / name


def _read_processor() -> str:
    """Name what code was made for: a home may be on machines of several kinds."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    told = sorted({line for line in lines if line.startswith(("flags", "Features", "model"))})
    return platform.machine() + "".join(told)
