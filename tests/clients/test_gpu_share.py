"""How the image's Python keeps PyTorch to a machine's share of its GPUs: old ones, the real one."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from workers.machines.walls import tell_devices

IMAGE = Path(__file__).resolve().parents[2] / "workers" / "images" / "machine"
# As PyTorch 2.8 is where it matters: calls wait until CUDA begins, which reads the variable first.
OLD = """
import os
_queued, _begun, fractions = [], [], {}

def device_count():
    return 2

def _lazy_call(call):
    call() if _begun else _queued.append(call)

def _lazy_init():
    if _begun:
        return
    for each in filter(None, os.environ.get("PYTORCH_CUDA_ALLOC_CONF", "").split(",")):
        if each.split(":")[0] != "expandable_segments":
            raise RuntimeError(f"Unrecognized CachingAllocator option: {each.split(':')[0]}")
    _begun.append(True)
    for call in _queued:
        call()

def set_per_process_memory_fraction(fraction, device=None):
    _lazy_init()
    fractions[device] = fraction
"""
ASK_OLD = "import torch.cuda; torch.cuda._lazy_init(); print(torch.cuda.fractions)"
# No GPU is needed to hear what is asked of PyTorch when CUDA begins.
ASK_REAL = """
import torch
asked = {}
torch.cuda.device_count = lambda: 2
torch.cuda.set_per_process_memory_fraction = lambda part, index: asked.update({index: part})
for call, _ in torch.cuda._queued_calls:
    if call.__module__ == "sitecustomize":
        call()
print(asked)
"""


@pytest.fixture
def ask(tmp_path):
    """`ask(code, **env)` is what Python says that starts as the image's does."""
    folder = tmp_path / "stdlib"
    folder.mkdir()
    shutil.copy(IMAGE / "sitecustomize.py", folder)

    def run(code: str, *packages: Path, **env: str) -> str:
        path = os.pathsep.join(map(str, [folder, *packages]))
        done = subprocess.run(
            [sys.executable, "-c", code], text=True, capture_output=True, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path, **env},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "Athanor" not in done.stderr, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def old(tmp_path) -> Path:
    package = tmp_path / "old" / "torch" / "cuda"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text(OLD)
    return tmp_path / "old"


def test_an_old_pytorch_keeps_to_the_share_and_begins(ask, old):
    told = tell_devices(["GPU-a", "GPU-b"], 30)
    assert ask(ASK_OLD, old, **told) == "{0: 0.3, 1: 0.3}"


def test_what_people_have_set_for_its_allocator_stays_theirs(ask, old):
    env = tell_devices(["GPU-a"], 30) | {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}
    assert ask(ASK_OLD, old, **env) == "{0: 0.3, 1: 0.3}"


@pytest.mark.parametrize("env", [{}, {"ATHANOR_DEVICE_PERCENT": ""}, tell_devices(["GPU-a"], 100)])
def test_where_there_is_no_share_nothing_is_asked_of_it(ask, old, env):
    assert ask(ASK_OLD, old, **env) == "{}"
    assert ask("import sys; print('_Watcher' in repr(sys.meta_path))", **env) == "False"


def test_the_real_pytorch_is_asked_the_same_and_cuda_does_not_begin_by_it(ask):
    told = tell_devices(["GPU-a", "GPU-b"], 30)
    assert ask(ASK_REAL, **told) == "{0: 0.3, 1: 0.3}"
    assert ask("import torch; print(torch.cuda.is_initialized())", **told) == "False"


def test_the_image_has_it_where_debian_s_python_looks():
    copied = (IMAGE / "Dockerfile").read_text()
    assert "COPY workers/images/machine/sitecustomize.py /own/etc/python3.11/\n" in copied
