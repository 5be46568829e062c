"""Cookies on their way to a machine and back: each side sees its own and no other's.

Where ports have names, each is a host and a browser keeps cookies apart. Where they are numbers of
one host, a browser sends every cookie to every port of it: ours are taken out, and those that only
the program is to read (HttpOnly) are given a name of their machine's port on the way out. A cookie
that pages read is read by the pages of every port, whatever a server does; its name stays.
"""

from collections.abc import Iterable

from django.conf import settings

from studio.machines.web.origins import Origin

Pairs = list[tuple[str, str]]
_PASS, _SAFE_PASS, _JAR = "athanor_machine", "__Host-athanor", "athanor."


def cookie_name(key: str = "") -> str:
    """Return the name of our cookie at a machine: over TLS one that browsers keep to its host."""
    name = _SAFE_PASS if settings.SESSION_COOKIE_SECURE else _PASS
    return f"{name}-{key}" if settings.MACHINES_PORTS else name


def split_cookies(headers: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """Return the cookies of a request, in their order."""
    found = []
    for name, value in headers:
        if name.lower() == b"cookie":
            for part in value.decode("latin-1").split(";"):
                key, _, content = part.strip().partition("=")
                if key:
                    found.append((key, content))
    return found


def pick_for_machine(origin: Origin, cookies: Pairs) -> Pairs:
    """Return those that a machine's port may see, by the names that its program gave them."""
    jar = _jar(origin)
    picked = []
    for name, value in cookies:
        if jar and name.startswith(jar):
            picked.append((name.removeprefix(jar), value))
        elif not _is_ours(name):
            picked.append((name, value))
    return picked


def narrow(origin: Origin, value: bytes) -> list[bytes]:
    """Return what of a Set-Cookie goes on: to its own host only, and nothing by a name of ours."""
    first, *rest = value.split(b";")
    name = first.partition(b"=")[0].strip().decode("latin-1")
    if _is_ours(name) or not name:
        return []
    kept = [part for part in rest if _word(part) != b"domain"]
    jar = _jar(origin)
    plain, jarred = [first, *kept], [jar.encode() + first.strip(), *kept]
    if not jar:
        return [b";".join(plain)]
    if any(_word(part) == b"httponly" for part in kept):
        return [b";".join(jarred)]
    # Programs end a cookie without saying again of which kind it was.
    both = [plain, jarred] if _ends(first, kept) else [plain]
    return [b";".join(parts) for parts in both]


def _is_ours(name: str) -> bool:
    own = {settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, _PASS, _SAFE_PASS}
    return name in own or name.startswith((f"{_PASS}-", f"{_SAFE_PASS}-", _JAR))


def _jar(origin: Origin) -> str:
    return f"{_JAR}{origin.key}.{origin.port}." if origin.number is not None else ""


def _ends(first: bytes, parts: list[bytes]) -> bool:
    said = {_word(part): part.partition(b"=")[2].strip() for part in parts}
    age = said.get(b"max-age", b"1")
    return not first.partition(b"=")[2].strip(b' "') or age.startswith((b"0", b"-"))


def _word(part: bytes) -> bytes:
    return part.partition(b"=")[0].strip().lower()
