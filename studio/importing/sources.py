"""What the text of a source means: a hub's repo, a GGUF file's address, or a thing of one's drive.

Reads the text alone. Whether the source exists is found out when the import runs.
"""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

from studio.core.errors import BadInput
from studio.drive.errors import BadPath
from studio.drive.names import parse_path
from studio.hub.models import Kind
from studio.hub.remote import Source, read_source
from studio.importing.addresses import check_number

MOST_SOURCE = 2000
_HUB_SCHEMES = ("hf", "hf+http", "hf+https", "modelscope", "modelscope+http", "modelscope+https")
_REPO_ID = re.compile(r"[\w.\-]+/[\w.\-]+")
_EXAMPLES = (
    "hf://owner/name@revision, hf+https://hub.example/owner/name, modelscope://owner/name, "
    "drive:///path/to/folder or https://host.example/model.gguf"
)
_GGUF = ".gguf"


@dataclass(frozen=True)
class GgufAddress:
    """A GGUF file on the web."""

    url: str
    name: str


@dataclass(frozen=True)
class DrivePlace:
    """A folder of somebody's own drive, or a GGUF file there."""

    parts: tuple[str, ...]

    @property
    def is_gguf(self) -> bool:
        """Say whether it is to be read as a file."""
        return bool(self.parts) and self.parts[-1].lower().endswith(_GGUF)


Place = Source | GgufAddress | DrivePlace


class BadSource(BadInput):
    """The text names no source."""

    code = "bad_source"

    def __init__(self, why: str) -> None:
        """Say why, and what would do."""
        super().__init__(f"source: {why}; write {_EXAMPLES}.", field="source", why=why)


def read_place(text: str, kind: str, *, token: str = "") -> Place:
    """Return what a person's source means.

    Raises:
        BadSource: it means nothing.
        AddressRefused: it is an address that imports do not reach.
    """
    if len(text) > MOST_SOURCE or not text.isprintable():
        raise BadSource("this is too long, or holds what cannot be printed")
    scheme = text.partition("://")[0]
    if scheme == "drive":
        place: Place = _read_drive(text)
    elif scheme in {"http", "https"}:
        place = _read_gguf(text)
    elif scheme in _HUB_SCHEMES:
        place = _read_hub(text, kind, token)
    else:
        raise BadSource(f"{text[:100]!r} is none")
    if kind != Kind.MODEL and not isinstance(place, Source):
        _check_kind(place)
    return place


def _check_kind(place: GgufAddress | DrivePlace) -> None:
    if isinstance(place, GgufAddress) or place.is_gguf:
        message = "kind: a GGUF file is a model; choose the kind model."
        raise BadInput(message, field="kind", code="gguf_is_model")


def _read_drive(text: str) -> DrivePlace:
    path = text.removeprefix("drive://")
    if not path.startswith("/"):
        raise BadSource("a path of the drive begins with a third slash")
    try:
        return DrivePlace(parse_path(path.strip("/")))
    except BadPath as error:
        raise BadSource(error.message.removeprefix("path: ").rstrip(".")) from error


def _read_gguf(text: str) -> GgufAddress:
    parts = _split(text)
    name = unquote(parts.path).rpartition("/")[2]
    if not name.lower().endswith(_GGUF):
        raise BadSource("only the address of a .gguf file is fetched by itself")
    # A signature in an address is as good as a password, and sources are kept and shown.
    if parts.query not in {"", "download=true"}:
        raise BadSource("the address may have no part after a ?")
    return GgufAddress(f"{parts.scheme}://{parts.netloc}{parts.path}", name)


def _read_hub(text: str, kind: str, token: str) -> Source:
    try:
        source = read_source(text, kind, token=token)
    except BadInput as error:
        raise BadSource(f"{text[:100]!r} is none") from error
    has_dots = any(part.strip(".") == "" for part in source.repo_id.split("/"))
    if has_dots or not _REPO_ID.fullmatch(source.repo_id):
        raise BadSource(f"{source.repo_id[:100]!r} is no repo's name")
    parts = _split(source.endpoint)
    if parts.query or parts.fragment:
        raise BadSource("a hub's address has no ? and no # in it")
    return source


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BadSource("its host or port is none") from error
    if not host or "@" in parts.netloc or re.search(r"[\s\\]", url):
        raise BadSource("an address has a host, and neither a name nor a password before it")
    check_number(host)
    return parts
