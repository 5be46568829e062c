"""What of a message's headers goes on: nothing of the hop's own, and no cookie of the studio's."""

from collections.abc import Iterable, Sequence

from django.conf import settings

from studio.machines.web.passes import cookie_name

Headers = list[tuple[bytes, bytes]]

# RFC 9110, 7.6.1, and what proxies of old say.
_HOP = {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te"}
_HOP |= {b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection", b"expect"}
_FORWARDED = {b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
_FORWARDED |= {b"x-real-ip", b"x-forwarded-port", b"x-forwarded-prefix"}
_SOCKET = {b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions"}
_SOCKET |= {b"sec-websocket-protocol", b"host", b"origin"}


def get_header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """Return a header's value, the first where there are several; blank where it is missing."""
    for key, value in headers:
        if key.lower() == name:
            return value.decode("latin-1")
    return ""


def get_cookie(headers: Iterable[tuple[bytes, bytes]], name: str) -> str:
    """Return a cookie's value; blank where it is missing."""
    for key, value in _split_cookies(headers):
        if key == name:
            return value
    return ""


def to_machine(
    headers: Sequence[tuple[bytes, bytes]], *, client: str, scheme: str, is_socket: bool = False
) -> Headers:
    """Return what a machine hears of a request: the cookies of its own, and who asks."""
    dropped = _HOP | _FORWARDED | _named_by_connection(headers) | {b"cookie"}
    if is_socket:
        dropped |= _SOCKET
    # CGI and WSGI know no difference between `-` and `_`: nor may what is dropped here.
    kept = [(name, value) for name, value in headers if _plain(name) not in dropped]
    ours = _our_cookies()
    own = [f"{key}={value}" for key, value in _split_cookies(headers) if key not in ours]
    if own:
        kept.append((b"cookie", "; ".join(own).encode("latin-1")))
    host = get_header(headers, b"host").encode("latin-1")
    return [
        *kept,
        (b"x-forwarded-for", client.encode()),
        (b"x-forwarded-proto", scheme.encode()),
        (b"x-forwarded-host", host),
    ]


def to_browser(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Return what a browser hears of an answer: no cookie that could pass for the studio's."""
    dropped = _HOP | _named_by_connection(headers)
    kept = [
        (name.lower(), _narrow(value) if name.lower() == b"set-cookie" else value)
        for name, value in headers
        if name.lower() not in dropped
    ]
    return [(name, value) for name, value in kept if name != b"set-cookie" or value]


def _plain(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")


def _narrow(value: bytes) -> bytes:
    """Keep a cookie to its own host; one with a name of ours is dropped."""
    name = value.partition(b"=")[0].strip().decode("latin-1")
    if name in _our_cookies():
        return b""
    parts = [part for part in value.split(b";") if not _says_domain(part)]
    return b";".join(parts)


def _says_domain(part: bytes) -> bool:
    return part.strip().lower().partition(b"=")[0].strip() == b"domain"


def _our_cookies() -> set[str]:
    return {cookie_name(), settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME}


def _named_by_connection(headers: Sequence[tuple[bytes, bytes]]) -> set[bytes]:
    said = [value for name, value in headers if name.lower() == b"connection"]
    return {word.strip().lower() for value in said for word in value.split(b",")}


def _split_cookies(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    found = []
    for name, value in headers:
        if name.lower() == b"cookie":
            for part in value.decode("latin-1").split(";"):
                key, _, content = part.strip().partition("=")
                if key:
                    found.append((key, content))
    return found
