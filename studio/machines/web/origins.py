"""Where a machine's port is found: at `<port>-<key>.<domain>`, or at a port of the studio's host.

Which of the two is the studio's choice (STUDIO_MACHINES_DOMAIN, STUDIO_MACHINES_PORTS); which
number stands for which port is said by `numbers`.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from django.conf import settings

_LABEL = re.compile(r"([1-9][0-9]{0,4})-([a-z0-9]{4,20})")


@dataclass(frozen=True)
class Origin:
    """A port of a machine, as a host name or a number stands for it."""

    key: str
    """Blank where nothing stands behind a number."""
    port: int
    number: int | None = field(default=None, compare=False)
    """The studio's port that stands for it, None where it has a name."""


def parse_host(host: str) -> Origin | None:
    """Return what a Host header names, None where that is no machine's port."""
    name = host.lower().rpartition(":")[0] if re.search(r":[0-9]*$", host) else host.lower()
    label, dot, domain = name.rstrip(".").partition(".")
    found = _LABEL.fullmatch(label)
    if not dot or domain != settings.MACHINES_DOMAIN or found is None:
        return None
    port = int(found[1])
    return Origin(key=found[2], port=port) if port <= 65535 else None


def public_origin(origin: Origin) -> str:
    """Return what a browser calls it: the studio's scheme, and its port where names are used."""
    public = urlsplit(settings.PUBLIC_URL)
    if origin.number is not None:
        host = f"[{public.hostname}]" if ":" in (public.hostname or "") else public.hostname
        return f"{public.scheme}://{host}:{origin.number}"
    at = f":{public.port}" if public.port else ""
    return f"{public.scheme}://{origin.port}-{origin.key}.{settings.MACHINES_DOMAIN}{at}"


def public_url(key: str, port: int, number: int | None = None) -> str:
    """Return an address that opens a machine's port.

    Where numbers are used and none stands for it yet, it is the studio's page that has one taken.
    """
    if settings.MACHINES_PORTS and number is None:
        return f"{settings.PUBLIC_URL}/machines/enter?{urlencode({'key': key, 'port': port})}"
    return public_origin(Origin(key, port, number)) + "/"
