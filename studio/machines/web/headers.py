"""What of a message's headers goes on: nothing of a hop's own, and nothing that speaks for us."""

from collections.abc import Iterable, Sequence

from studio.machines.web.cookies import narrow, pick_for_machine, split_cookies
from studio.machines.web.origins import Origin

Headers = list[tuple[bytes, bytes]]

# RFC 9110, 7.6.1, and what proxies of old say.
_HOP = {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te"}
_HOP |= {b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection", b"expect"}
_FORWARDED = {b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"}
_FORWARDED |= {b"x-real-ip", b"x-forwarded-port", b"x-forwarded-prefix"}
_SOCKET = {b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-extensions"}
_SOCKET |= {b"sec-websocket-protocol", b"host", b"origin"}
# Orders to nginx or Apache, which would send any file of theirs; and one that would sign a browser
# out of the studio, whose cookies are of the same site.
_ORDERS = {b"x-sendfile", b"x-lighttpd-send-file", b"clear-site-data"}
_ORDER = b"x-accel-"


def get_header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str:
    """Return a header's value, the first where there are several; blank where it is missing."""
    for key, value in headers:
        if key.lower() == name:
            return value.decode("latin-1")
    return ""


def get_cookie(headers: Iterable[tuple[bytes, bytes]], name: str) -> str:
    """Return a cookie's value; blank where it is missing."""
    for key, value in split_cookies(headers):
        if key == name:
            return value
    return ""


def to_machine(
    origin: Origin,
    headers: Sequence[tuple[bytes, bytes]],
    *,
    client: str,
    scheme: str,
    is_socket: bool = False,
) -> Headers:
    """Return what a machine hears of a request: the cookies of its own, and who asks."""
    dropped = _HOP | _FORWARDED | _named_by_connection(headers) | {b"cookie"}
    if is_socket:
        dropped |= _SOCKET
    # CGI and WSGI know no difference between `-` and `_`: nor may what is dropped here.
    kept = [
        (name, value)
        for name, value in headers
        if _plain(name) not in dropped and not _plain(name).startswith(_ORDER)
    ]
    own = pick_for_machine(origin, split_cookies(headers))
    if own:
        said = "; ".join(f"{key}={value}" for key, value in own)
        kept.append((b"cookie", said.encode("latin-1")))
    host = get_header(headers, b"host").encode("latin-1")
    return [
        *kept,
        (b"x-forwarded-for", client.encode()),
        (b"x-forwarded-proto", scheme.encode()),
        (b"x-forwarded-host", host),
    ]


def to_browser(origin: Origin, headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Return what a browser hears of an answer: no cookie and no order that could pass for ours."""
    dropped = _HOP | _ORDERS | _named_by_connection(headers)
    kept: Headers = []
    for name, value in headers:
        word = name.lower()
        if word == b"set-cookie":
            kept += [(word, cookie) for cookie in narrow(origin, value)]
        elif word not in dropped and not word.startswith(_ORDER):
            kept.append((word, value))
    return kept


def guard_answer(asked: Sequence[tuple[bytes, bytes]], *, is_public: bool) -> Headers:
    """Return what keeps other origins' pages from using an answer, where only they could tell.

    A browser without Fetch Metadata (plain HTTP to a host that is not its own) does not say that
    another page embeds or frames this: it is told itself to let only this origin's.
    """
    if is_public or get_header(asked, b"sec-fetch-site"):
        return []
    return [
        (b"cross-origin-resource-policy", b"same-origin"),
        (b"content-security-policy", b"frame-ancestors 'self'"),
    ]


def _plain(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")


def _named_by_connection(headers: Sequence[tuple[bytes, bytes]]) -> set[bytes]:
    said = [value for name, value in headers if name.lower() == b"connection"]
    return {word.strip().lower() for value in said for word in value.split(b",")}
