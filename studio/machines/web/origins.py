"""Host names of machines' ports: `<port>-<key>.<domain>`, and back."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

_LABEL = re.compile(r"([1-9][0-9]{0,4})-([a-z0-9]{4,20})")


@dataclass(frozen=True)
class Origin:
    """A port of a machine, as a host name says it."""

    key: str
    port: int


def parse_host(host: str) -> Origin | None:
    """Return what a Host header names, None where that is no machine's port."""
    name = host.lower().rpartition(":")[0] if re.search(r":[0-9]*$", host) else host.lower()
    label, dot, domain = name.rstrip(".").partition(".")
    found = _LABEL.fullmatch(label)
    if not dot or domain != settings.MACHINES_DOMAIN or found is None:
        return None
    port = int(found[1])
    return Origin(key=found[2], port=port) if port <= 65535 else None


def public_origin(key: str, port: int) -> str:
    """Return the origin of a machine's port: the studio's scheme, and its port where it has one."""
    public = urlsplit(settings.PUBLIC_URL)
    at = f":{public.port}" if public.port else ""
    return f"{public.scheme}://{port}-{key}.{settings.MACHINES_DOMAIN}{at}"


def public_url(key: str, port: int) -> str:
    """Return the address of a machine's port."""
    return public_origin(key, port) + "/"
