"""Builds the whole machine image as its Dockerfile says, from the package registries.

Every stage gets a name, so that the engine keeps it and the next run builds only what changed.
"""

import os
import shutil
import ssl
from pathlib import Path

from tests.deploy.build import BASE
from tests.deploy.engine import DockerEngine
from tests.deploy.supplies import ROOT, get_base_tree, get_wheels

IMAGE = "athanor-test-whole-machine"
TRUSTING = "athanor-test-trusting"
"""The base, with the authorities that this machine trusts: a mirror's may be its own."""
STAGES = (
    "system",
    "command",
    "own",
    "core",
    "code-server",
    "jupyter",
    "python",
    "python-chosen",
    "tools",
)
_NETWORK = "athanor-test-build"
_NEEDED = ("clients", "engine", "workers/images/machine", "deploy/wheels")
_MIRRORS = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "NPM_CONFIG_REGISTRY")
_LONG_S = 1200


def build_machine_image(engine: DockerEngine) -> str:
    """Build it, and return its id."""
    engine.import_tree(get_base_tree(), BASE)
    _build_trusting(engine)
    context = engine.folder / "whole-machine"
    _lay_out(context)
    engine.run("docker", "network", "create", _NETWORK)
    try:
        for stage in STAGES:
            _build(engine, context, f"athanor-test-stage-{stage}", "--target", stage)
        _build(engine, context, IMAGE)
    finally:
        engine.run("docker", "network", "rm", _NETWORK)
    shown = engine.run("docker", "image", "inspect", "--format", "{{.Id}}", IMAGE)
    return shown.stdout.strip()


def _build_trusting(engine: DockerEngine) -> None:
    folder = engine.folder / "trusting"
    folder.mkdir()
    authorities = ssl.get_default_verify_paths().cafile or "/etc/ssl/certs/ca-certificates.crt"
    shutil.copy(authorities, folder / "authorities.crt")
    lines = f"FROM {BASE}\nCOPY authorities.crt /etc/ssl/certs/ca-certificates.crt\n"
    (folder / "Dockerfile").write_text(lines)
    engine.build(folder / "Dockerfile", folder, TRUSTING)


def _lay_out(context: Path) -> None:
    for name in _NEEDED:
        no_wheels = shutil.ignore_patterns("*.whl", "__pycache__")
        shutil.copytree(ROOT / name, context / name, ignore=no_wheels)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, context / name)
    # As this machine's pip has it: where that is PyTorch for processors, the image's is too.
    (torch,) = get_wheels().glob("torch-*.whl")
    shutil.copy(torch, context / "deploy" / "wheels")


def _build(engine: DockerEngine, context: Path, tag: str, *options: str) -> None:
    arguments = [f"BASE={TRUSTING}", "TORCH_INDEX="]
    arguments += [f"{name}={os.environ[name]}" for name in _MIRRORS if name in os.environ]
    engine.run(
        *("docker", "build", "--network", _NETWORK, "--force-rm", "-t", tag, *options),
        *(word for each in arguments for word in ("--build-arg", each)),
        *("-f", str(context / "workers" / "images" / "machine" / "Dockerfile"), str(context)),
        timeout=_LONG_S,
    )
