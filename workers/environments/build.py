"""Makes an environment inside the image that its machines will have, and brings its files out.

So its Python and its libraries are the machines' own. Nothing of the node is mounted into the
container: what goes in and out are archives.
"""

import io
import shlex
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import docker
from docker.errors import APIError, DockerException
from requests.exceptions import RequestException

from workers.environments.store import EnvironmentFault, EnvironmentStore, Facts

_BUILD = "/build"
_TIMEOUT_S = 600
_FROM_REQUIREMENTS = f"""set -eu
python3 -m venv "$PREFIX"
"$PREFIX/bin/pip" install --no-cache-dir --find-links {_BUILD}/wheels -r {_BUILD}/recipe
"$PREFIX/bin/pip" freeze > "$PREFIX/requirements.lock"
"""


@dataclass(frozen=True)
class Recipe:
    """What an environment is made from."""

    file: Path
    """Requirements of pip; or a script for `sh` that leaves an environment at `$PREFIX`."""
    image: str
    is_script: bool = False
    wheels: Path | None = None
    """A folder of wheels that pip looks into as well."""
    network: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    about: str = ""


def build_environment(
    store: EnvironmentStore,
    name: str,
    recipe: Recipe,
    *,
    host: str | None = None,
    tell: Callable[[bytes], object] = lambda _: None,
) -> Facts:
    """Make a new version of an environment and show it; `tell` hears what the container says.

    Raises:
        EnvironmentFault: it cannot be built; nothing is shown then.
    """
    if not recipe.file.is_file():
        raise EnvironmentFault(f"{recipe.file} is no file.")
    if recipe.wheels is not None and not recipe.wheels.is_dir():
        raise EnvironmentFault(f"{recipe.wheels} is no folder.")
    with store.draft(name) as (version, folder):
        prefix = store.prefix_of(name, version)
        try:
            client = _connect(host)
            try:
                tree = _build(client, recipe, prefix, folder, tell)
            finally:
                client.close()
        except (DockerException, RequestException, OSError, tarfile.TarError) as error:
            said = error.explanation if isinstance(error, APIError) else str(error)
            sentence = " ".join(str(said).split())[:300]
            raise EnvironmentFault(f"{name} cannot be built: {sentence}") from error
        return store.publish(name, version, tree, about=recipe.about)


def _connect(host: str | None) -> docker.DockerClient:
    if host is None:
        return docker.from_env(timeout=_TIMEOUT_S)
    return docker.DockerClient(base_url=host, timeout=_TIMEOUT_S)


def _build(
    client: docker.DockerClient,
    recipe: Recipe,
    prefix: str,
    folder: Path,
    tell: Callable[[bytes], object],
) -> Path:
    script = f". {_BUILD}/recipe\n" if recipe.is_script else _FROM_REQUIREMENTS
    options = {"network": recipe.network} if recipe.network else {}
    container = client.containers.create(
        recipe.image,
        entrypoint=["/bin/sh", "-c"],
        command=[f"mkdir -p {shlex.quote(prefix)} && {script}"],
        environment={"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        | dict(recipe.environment)
        | {"PREFIX": prefix},
        init=True,
        security_opt=["no-new-privileges:true"],
        **options,
    )
    try:
        container.put_archive("/", _pack(recipe))
        container.start()
        for chunk in container.logs(stream=True, follow=True):
            tell(chunk)
        code = container.wait()["StatusCode"]
        if code:
            raise EnvironmentFault(f"The build ended with {code}: what it said last says why.")
        stream, _ = container.get_archive(prefix)
        return _unpack(stream, folder)
    finally:
        container.remove(force=True, v=True)


def _pack(recipe: Recipe) -> io.BufferedIOBase:
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w") as tar:
        tar.add(recipe.file, f"{_BUILD}/recipe", filter=_as_root)
        if recipe.wheels is None:
            wheels = tarfile.TarInfo(f"{_BUILD}/wheels")
            wheels.type, wheels.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(wheels)
        else:
            tar.add(recipe.wheels, f"{_BUILD}/wheels", filter=_as_root)
    kept.seek(0)
    return kept


def _as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode |= 0o444
    return member


def _unpack(stream: Iterable[bytes], folder: Path) -> Path:
    """Write an archive of one folder out, as it comes; return that folder.

    A name that leads out of it is refused. Links may: the machine's Python is one.
    """
    with tarfile.open(fileobj=_Stream(stream), mode="r|", bufsize=2**21) as tar:
        tar.extractall(folder, filter="tar")
    (tree,) = folder.iterdir()
    return tree


class _Stream(io.RawIOBase):
    """Chunks as a file that is read from its beginning to its end."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._rest += chunk
        size = len(self._rest) if size < 0 else size
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken
