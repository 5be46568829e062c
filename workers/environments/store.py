"""What machines of a node find at /share/envs: prebuilt environments, each in versions.

NAME                      a link to the version that people get; it moves to another in one step
.versions/NAME/VERSION    the files, never changed once they are seen
.new-NAME-VERSION         one that is being made

A version lies where it was made for, `/share/envs/.versions/NAME/VERSION`: that path is written in
its scripts. Clones go on using theirs, so an old version stays until an operator removes it.
"""

import json
import mmap
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from workers.errors import WorkerError
from workers.files import hold_lock, read_json, sync_folder

SHOWN_AT = "/share/envs"
"""Where machines have the folder."""
FACTS = ".athanor-env.json"

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_VERSION = re.compile(r"\d{8}\.\d{1,4}")
_FOLDER_MODE = 0o755


class EnvironmentFault(WorkerError):
    """An environment cannot be made or found; the message is one sentence for the operator."""


@dataclass(frozen=True)
class Facts:
    """What is known of one version."""

    name: str
    version: str
    prefix: str
    """The path it was made for."""
    python: str
    """Such as `3.11`."""
    kind: str
    """`venv` or `conda`."""
    about: str = ""
    num_files: int = 0
    num_bytes: int = 0
    num_packages: int = 0
    text_with_prefix: list[str] = field(default_factory=list)
    """Files, relative, in which the path is written; a copy elsewhere has them rewritten."""
    binary_with_prefix: list[str] = field(default_factory=list)


class EnvironmentStore:
    """A node's folder of environments."""

    def __init__(self, path: Path, shown_at: str = SHOWN_AT) -> None:
        """Use a folder, which need not be there yet and which machines have at `shown_at`."""
        self._path, self._shown_at = path, shown_at
        self._versions = path / ".versions"

    def create(self) -> None:
        """Make the folder, for everybody to read."""
        for folder in (self._path.parent, self._path, self._versions):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(_FOLDER_MODE)

    def next_version(self, name: str) -> str:
        """Return today's next version of a name.

        Raises:
            EnvironmentFault: it can be no environment's name.
        """
        if not _NAME.fullmatch(name):
            raise EnvironmentFault(
                f"{name[:80]!r} cannot be an environment's name: use small letters, digits, ., _ "
                "and -, beginning with a letter or digit, at most 63."
            )
        today = datetime.now(UTC).strftime("%Y%m%d")
        taken = [int(each.rpartition(".")[2]) for each in self._list(name) if each[:8] == today]
        return f"{today}.{max(taken, default=0) + 1}"

    def prefix_of(self, name: str, version: str) -> str:
        """Return the path in machines that a version is made for."""
        return f"{self._shown_at}/.versions/{name}/{version}"

    @contextmanager
    def draft(self, name: str) -> Iterator[tuple[str, Path]]:
        """Give a new version and an empty folder for its files; gone again unless published.

        Raises:
            EnvironmentFault: it can be no name.
            WorkerError: another is being made on this node.
        """
        self.next_version(name)
        self.create()
        with hold_lock(self._path / ".lock", "environment builder"):
            for left in self._path.glob(".new-*"):
                shutil.rmtree(left)
            version = self.next_version(name)
            folder = self._path / f".new-{name}-{version}"
            folder.mkdir()
            try:
                yield version, folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def publish(self, name: str, version: str, tree: Path, *, about: str = "") -> Facts:
        """Show a tree made for its prefix as a version, and as what the name stands for.

        Raises:
            EnvironmentFault: it is no Python environment, or was made for another path.
        """
        prefix = self.prefix_of(name, version)
        facts = _measure(tree, name, version, prefix, about)
        _close(tree)
        text = json.dumps(asdict(facts), ensure_ascii=False)
        (tree / FACTS).write_text(text, encoding="utf-8")
        (tree / FACTS).chmod(0o444)
        files = self._versions / name / version
        files.parent.mkdir(exist_ok=True)
        files.parent.chmod(_FOLDER_MODE)
        tree.rename(files)
        sync_folder(files.parent)
        self.use(name, version)
        return facts

    def use(self, name: str, version: str) -> None:
        """Have a name stand for one of its versions.

        Raises:
            EnvironmentFault: there is no such version.
        """
        self._find(name, version)
        link = self._path / name
        partial = self._path / f".{name}.part"
        partial.unlink(missing_ok=True)
        partial.symlink_to(Path(".versions") / name / version)
        partial.replace(link)
        sync_folder(self._path)

    def remove(self, name: str, version: str = "") -> None:
        """Take a name from sight, or one version from the disk, which breaks its clones.

        Raises:
            EnvironmentFault: there is none, or the version is what the name stands for.
        """
        link = self._path / name
        if not version:
            if not _NAME.fullmatch(name) or not link.is_symlink():
                raise EnvironmentFault(f"There is no environment {name[:80]!r}.")
            link.unlink()
            return
        files = self._find(name, version)
        if self.current(name) == version:
            raise EnvironmentFault(
                f"{name} stands for {version}: `use` another version first, or remove the name."
            )
        hidden = self._path / f".new-gone-{name}-{version}"  # swept, should this be killed
        files.rename(hidden)
        shutil.rmtree(hidden)

    def current(self, name: str) -> str | None:
        """Return the version that a name stands for."""
        link = self._path / name
        return link.readlink().name if link.is_symlink() else None

    def list_all(self) -> Iterator[tuple[Facts, bool]]:
        """Yield every version, newest first below its name, with whether the name stands for it."""
        names = sorted(each.name for each in self._versions.glob("*") if each.is_dir())
        for name in names:
            for version in reversed(self._list(name)):
                body = read_json(self._versions / name / version / FACTS)
                if body is not None:
                    yield Facts(**body), self.current(name) == version

    def _list(self, name: str) -> list[str]:
        found = [each.name for each in (self._versions / name).glob("*")]
        kept = [each for each in found if _VERSION.fullmatch(each)]
        return sorted(kept, key=lambda each: [int(part) for part in each.split(".")])

    def _find(self, name: str, version: str) -> Path:
        files = self._versions / name / version
        if not (_NAME.fullmatch(name) and _VERSION.fullmatch(version) and files.is_dir()):
            raise EnvironmentFault(f"There is no version {version[:40]!r} of {name[:80]!r}.")
        return files


def _measure(tree: Path, name: str, version: str, prefix: str, about: str) -> Facts:
    """Look through a tree.

    Raises:
        EnvironmentFault: it is no Python environment, or was made for another path.
    """
    packages = sorted(tree.glob("lib/python3.*/site-packages"))
    is_conda = (tree / "conda-meta").is_dir()
    if len(packages) != 1 or not (is_conda or (tree / "pyvenv.cfg").is_file()):
        raise EnvironmentFault(
            "What was built is no Python environment: it wants lib/python3.*/site-packages once, "
            "and pyvenv.cfg or conda-meta."
        )
    if not os.path.lexists(tree / "bin" / "python"):
        raise EnvironmentFault("What was built has no bin/python.")
    num_files, num_bytes = 0, 0
    text: list[str] = []
    binary: list[str] = []
    for path in _walk_files(tree):
        size = path.lstat().st_size
        num_files, num_bytes = num_files + 1, num_bytes + size
        # A compiled module has the path too, where a wrong one does no harm.
        if path.is_symlink() or path.suffix == ".pyc" or not size:
            continue
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as seen:
            if seen.find(prefix.encode()) >= 0:
                kept = text if seen.find(b"\0") < 0 else binary
                kept.append(str(path.relative_to(tree)))
    return Facts(
        name=name,
        version=version,
        prefix=prefix,
        python=packages[0].parent.name.removeprefix("python"),
        kind="conda" if is_conda else "venv",
        about=about,
        num_files=num_files,
        num_bytes=num_bytes,
        num_packages=len(list(packages[0].glob("*.dist-info"))),
        text_with_prefix=sorted(text),
        binary_with_prefix=sorted(binary),
    )


def _walk_files(tree: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(tree):
        links = [each for each in folders if os.path.islink(os.path.join(folder, each))]
        yield from (Path(folder, each) for each in [*names, *links])


def _close(tree: Path) -> None:
    """Have everybody read all of it and nobody write, and let no program run as another user."""
    is_root = os.geteuid() == 0
    for folder, folders, names in os.walk(tree):
        for path in (Path(folder, each) for each in [*folders, *names]):
            if is_root:
                os.lchown(path, 0, 0)
            if not path.is_symlink():
                mode = path.stat().st_mode
                wanted = 0o755 if path.is_dir() or mode & 0o111 else 0o644
                path.chmod(wanted)
    tree.chmod(_FOLDER_MODE)
