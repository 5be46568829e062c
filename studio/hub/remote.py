"""Fetches repos from elsewhere: a hub that speaks Hugging Face's API, or ModelScope.

Each file lies in a folder of this machine until all are there and have the hashes that the source
names; a fetch that broke off goes on with the bytes it has. Then the hub makes one commit of them.
Who may be reached at all decides the transport that a caller gives.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from django.conf import settings

from studio.core.errors import BadInput, StudioError
from studio.hub.models import Kind
from studio.hub.names import check_path

HUGGING_FACE = "https://huggingface.co"
MODELSCOPE = "https://www.modelscope.cn"
_TRIES = 5
_PAUSES_S = (0.0, 1.0, 4.0, 10.0)
"""Before each further try of a file that breaks off; once it has grown they begin anew."""
_PIECE_BYTES = 2**20
_TIMEOUT_S = 60.0
_MOST_LISTED_BYTES = 256 * 2**20
_MOST_PAGES = 1000
_MOST_FILES = 100_000


class SourceFault(StudioError):
    """The source is away, has no such repo, or sent other bytes than it said."""

    code = "source_fault"
    status = 502


@dataclass(frozen=True)
class Source:
    """Where a repo comes from. `token` is used and never kept."""

    scheme: str
    """`hf` or `modelscope`."""
    endpoint: str
    kind: str
    repo_id: str
    revision: str
    token: str = field(default="", repr=False)


@dataclass(frozen=True)
class RemoteFile:
    """A file that the source lists, with what it says of its bytes."""

    path: str
    url: str
    size_bytes: int
    sha256: str = ""
    git_oid: str = ""


Tell = Callable[[str, int], None]
"""Is told a file's path, and each time how many more of its bytes are here."""


def read_source(text: str, kind: str, *, token: str = "") -> Source:
    """Return what `hf://owner/name@revision`, `hf+https://hub.example/owner/name` or
    `modelscope://owner/name` means.

    Raises:
        BadInput: it means nothing.
    """
    scheme, _, rest = text.partition("://")
    name, _, revision = rest.partition("@")
    parts = name.strip("/").split("/")
    if scheme in {"hf", "modelscope"} and len(parts) == 2 and all(parts):
        endpoint = HUGGING_FACE if scheme == "hf" else MODELSCOPE
        default = "main" if scheme == "hf" else "master"
        return Source(scheme, endpoint, kind, "/".join(parts), revision or default, token)
    kinds = {"hf+http", "hf+https", "modelscope+http", "modelscope+https"}
    if scheme in kinds and len(parts) >= 3 and all(parts):
        flavour, _, protocol = scheme.partition("+")
        endpoint, repo_id = f"{protocol}://{'/'.join(parts[:-2])}", "/".join(parts[-2:])
        default = "main" if flavour == "hf" else "master"
        return Source(flavour, endpoint, kind, repo_id, revision or default, token)
    message = (
        f"source: {text[:100]!r} is none; write a folder, hf://owner/name@revision, "
        "hf+https://hub.example/owner/name or modelscope://owner/name."
    )
    raise BadInput(message, field="source", code="bad_source")


def list_remote_files(
    source: Source, *, transport: httpx.BaseTransport | None = None
) -> list[RemoteFile]:
    """Return the files of a source.

    Raises:
        SourceFault: it is away, has no such repo, or lists what is no list.
        BadInput: it lists a path that no repo may hold.
    """
    with open_client(source, transport) as client:
        listed = _list_hf if source.scheme == "hf" else _list_modelscope
        try:
            files = listed(client, source)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise SourceFault(f"source: {source.endpoint} lists files in no known way.") from error
    if any(file.size_bytes < 0 for file in files):
        raise SourceFault(f"source: {source.endpoint} lists files in no known way.")
    if not files:
        raise SourceFault(f"source: {source.repo_id} holds no files.", field="source")
    for file in files:
        check_path(file.path)
    return files


def fetch_files(
    source: Source,
    files: list[RemoteFile],
    tell: Tell | None = None,
    *,
    folder: Path | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Path:
    """Bring all files of a source here, and return the folder they are in.

    What is here already and has the right hash is not fetched again. `tell` may raise to end it:
    the bytes that are here stay.

    Raises:
        SourceFault: it is away, or sent other bytes than it said.
    """
    folder = folder or imports_folder() / _name_of(source)
    with open_client(source, transport) as client:
        for file in files:
            _fetch(client, file, folder / file.path, tell or (lambda path, num_bytes: None))
    return folder


def imports_folder() -> Path:
    """Return the folder of imports that are under way."""
    return Path(settings.HUB_DIR) / "imports"


def _list_hf(client: httpx.Client, source: Source) -> list[RemoteFile]:
    prefix = "datasets/" if source.kind == Kind.DATASET else ""
    revision = quote(source.revision, safe="")
    about = _get_json(client, f"/api/{source.kind}s/{source.repo_id}/revision/{revision}")
    sha = str(about.get("sha") or source.revision)
    files = []
    url = f"/api/{source.kind}s/{source.repo_id}/tree/{sha}?recursive=true"
    for _ in range(_MOST_PAGES):
        entries, further = _get(client, url)
        for entry in entries:
            if entry.get("type") != "file":
                continue
            where = f"/{prefix}{source.repo_id}/resolve/{sha}/{quote(entry['path'])}"
            lfs = entry.get("lfs") or {}
            files.append(
                RemoteFile(
                    path=entry["path"],
                    url=where,
                    size_bytes=int(entry["size"]),
                    sha256=str(lfs.get("oid") or ""),
                    git_oid="" if lfs else str(entry.get("oid") or ""),
                )
            )
        if not further:
            return files
        url = further
        if len(files) > _MOST_FILES:
            break
    raise BadInput(
        f"source: it lists more than {_MOST_FILES} files.",
        field="source",
        code="too_many_files",
        most=_MOST_FILES,
    )


def _list_modelscope(client: httpx.Client, source: Source) -> list[RemoteFile]:
    base = f"/api/v1/{source.kind}s/{source.repo_id}/repo"
    listing = f"{base}/files" if source.kind == Kind.MODEL else f"{base}/tree"
    found = _get_json(client, f"{listing}?Revision={quote(source.revision)}&Recursive=true")
    files = []
    for entry in (found.get("Data") or {}).get("Files") or []:
        if entry.get("Type") == "tree":
            continue
        query = f"Revision={quote(source.revision)}&FilePath={quote(entry['Path'], safe='')}"
        files.append(
            RemoteFile(
                path=entry["Path"],
                url=f"{base}?{query}",
                size_bytes=int(entry["Size"]),
                sha256=str(entry.get("Sha256") or ""),
            )
        )
    return files


def _fetch(client: httpx.Client, file: RemoteFile, path: Path, tell: Tell) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tell(file.path, _size_of(path))
    for _ in range(_TRIES):
        _bring(client, file, path, tell)
        if _has_its_hash(file, path):
            return
        tell(file.path, -_size_of(path))
        path.unlink()  # other bytes than the source says: all of it again
    raise SourceFault(
        f"source: {file.path} came {_TRIES} times with other bytes than the source lists."
    )


def _bring(client: httpx.Client, file: RemoteFile, path: Path, tell: Tell) -> None:
    """Fetch until there are as many bytes as the source lists, however often it breaks off."""
    pauses, most = iter(_PAUSES_S), _size_of(path)
    while not path.exists() or _size_of(path) < file.size_bytes:
        try:
            return _fetch_rest(client, file, path, tell)
        except (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError) as error:
            if _size_of(path) > most:
                pauses, most = iter(_PAUSES_S), _size_of(path)
            pause = next(pauses, None)
            if pause is None:
                raise SourceFault(f"source: {file.path} broke off: {error}.") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise SourceFault(f"source: {file.path} cannot be fetched: {error}.") from error
        time.sleep(pause)
        tell(file.path, 0)
    return None


def _fetch_rest(client: httpx.Client, file: RemoteFile, path: Path, tell: Tell) -> None:
    here = _size_of(path)
    headers = {"Range": f"bytes={here}-"} if here else {}
    with client.stream("GET", file.url, headers=headers) as answer:
        check_answer(answer)
        is_rest = answer.status_code == 206
        if not is_rest:
            tell(file.path, -here)
            here = 0
        with path.open("ab" if is_rest else "wb") as out:
            for piece in answer.iter_bytes():
                out.write(piece)
                tell(file.path, len(piece))
                here += len(piece)
                if here > file.size_bytes:
                    break  # it would go on until the disk is full
            out.flush()
            os.fsync(out.fileno())


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _has_its_hash(file: RemoteFile, path: Path) -> bool:
    if path.stat().st_size != file.size_bytes:
        return False
    if not file.sha256 and not file.git_oid:
        return True
    digest = (
        hashlib.sha256()
        if file.sha256
        else hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)
    )
    with path.open("rb") as data:
        while piece := data.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest() == (file.sha256 or file.git_oid)


@contextmanager
def open_client(
    source: Source, transport: httpx.BaseTransport | None = None
) -> Iterator[httpx.Client]:
    """Give a client that shows the source's token to the source's own address and nobody else."""
    home = httpx.URL(source.endpoint)

    def authorize(request: httpx.Request) -> httpx.Request:
        where = (request.url.scheme, request.url.host, request.url.port)
        if source.token and where == (home.scheme, home.host, home.port):
            request.headers["Authorization"] = f"Bearer {source.token}"
        return request

    with httpx.Client(
        base_url=source.endpoint,
        auth=authorize,
        # Packed on the way, a file has other bytes than a range of it is counted in.
        headers={"Accept-Encoding": "identity"},
        timeout=_TIMEOUT_S,
        follow_redirects=True,
        transport=transport,
    ) as client:
        yield client


def _get(client: httpx.Client, url: str) -> tuple[Any, str | None]:
    """Return a page of JSON and the address of the next one."""
    body = bytearray()
    try:
        with client.stream("GET", url) as answer:
            check_answer(answer)
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > _MOST_LISTED_BYTES:
                    raise SourceFault(f"source: {client.base_url} lists without end.")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise SourceFault(
            f"source: {client.base_url} cannot be reached: {error}.", field="source"
        ) from error
    try:
        return json.loads(body), answer.links.get("next", {}).get("url")
    except (ValueError, RecursionError) as error:
        raise SourceFault(f"source: {client.base_url} did not answer in JSON.") from error


def _get_json(client: httpx.Client, url: str) -> dict[str, Any]:
    found, _ = _get(client, url)
    return found if isinstance(found, dict) else {}


def check_answer(answer: httpx.Response) -> None:
    """Let pass what is an answer.

    Raises:
        SourceFault: the source refuses; the sentence says what may mend it.
    """
    if answer.is_success:
        return
    mends = {401: "give a token", 403: "ask for access there, and give a token", 404: "look it up"}
    mend = mends.get(answer.status_code, "try again later")
    host, status = answer.url.host, answer.status_code
    message = f"source: {host} answered {status} for it: {mend}."
    raise SourceFault(message, field="source", code="source_refused", host=host, status=status)


def _name_of(source: Source) -> str:
    text = f"{source.endpoint} {source.kind} {source.repo_id} {source.revision}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]
