"""Deploy settings, read once from the environment. The studio's only reader of os.environ.

Every reader refuses a bad value at start with a sentence that names the variable. A secret may come
from a file: `STUDIO_SECRET_KEY_FILE=/run/secrets/key` stands for `STUDIO_SECRET_KEY`.
"""

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def text(name: str, default: str | None = None) -> str:
    """Return a setting, or what its `_FILE` twin holds, or the default.

    Raises:
        ImproperlyConfigured: neither is set and there is no default, or the file cannot be read.
    """
    if name in os.environ:
        return os.environ[name]
    if path := os.environ.get(f"{name}_FILE"):
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise ImproperlyConfigured(f"{name}_FILE: cannot read {path}: {error}") from error
    if default is None:
        raise ImproperlyConfigured(f"Set {name} or {name}_FILE.")
    return default


def flag(name: str, *, default: bool) -> bool:
    """Return a yes/no setting.

    Raises:
        ImproperlyConfigured: the value is neither.
    """
    value = os.environ.get(name, "").strip().lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off"}:
        return False
    if value:
        raise ImproperlyConfigured(f"{name} is {value!r}: write 1 or 0.")
    return default


def whole(name: str, default: int, *, low: int, high: int) -> int:
    """Return a whole number within bounds.

    Raises:
        ImproperlyConfigured: it is not one, or out of bounds.
    """
    raw = os.environ.get(name, str(default))
    if not raw.strip().lstrip("-").isdigit() or not low <= int(raw) <= high:
        raise ImproperlyConfigured(f"{name} is {raw!r}: write a whole number from {low} to {high}.")
    return int(raw)


def maybe_whole(name: str, *, low: int, high: int) -> int | None:
    """Return a whole number within bounds, None where none is set.

    Raises:
        ImproperlyConfigured: it is not one, or out of bounds.
    """
    return whole(name, low, low=low, high=high) if os.environ.get(name, "").strip() else None


def ports(name: str) -> range:
    """Return a range of ports such as `20000-20199`, an empty one where none is set.

    Raises:
        ImproperlyConfigured: it is none, or has more than two thousand.
    """
    raw = os.environ.get(name, "").strip()
    if not raw:
        return range(0)
    found = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", raw)
    first, last = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1024 <= first <= last <= 65535 or last - first >= 2000:
        raise ImproperlyConfigured(
            f"{name} is {raw!r}: write a range such as 20000-20199, from 1024 to 65535, of at "
            "most 2000 ports."
        )
    return range(first, last + 1)


def machine_addresses() -> tuple[str, range]:
    """Return under which domain machines' ports have names, or which ports stand for them.

    Raises:
        ImproperlyConfigured: both are said.
    """
    numbers = ports("STUDIO_MACHINES_PORTS")
    domain = text("STUDIO_MACHINES_DOMAIN", "").strip(". ").lower()
    if numbers and domain:
        raise ImproperlyConfigured(
            "STUDIO_MACHINES_PORTS and STUDIO_MACHINES_DOMAIN are both set: machines' ports have "
            "names or numbers; leave one of them out."
        )
    return domain or ("" if numbers else "localhost"), numbers


def items(name: str, default: str) -> list[str]:
    """Return a comma-separated setting as a list, blanks dropped."""
    return [part.strip() for part in text(name, default).split(",") if part.strip()]


def folder(name: str, default: Path) -> Path:
    """Return a directory, created where it is missing.

    Raises:
        ImproperlyConfigured: it cannot be created.
    """
    path = Path(os.environ.get(name, default)).expanduser().resolve()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(f"{name}: cannot create {path}: {error}") from error
    return path


def hosts_and_networks(name: str) -> tuple[frozenset[str], tuple[IPv4Network | IPv6Network, ...]]:
    """Return a comma-separated setting's host names, in small letters, and its networks.

    Raises:
        ImproperlyConfigured: a part of it is neither.
    """
    hosts, networks = set(), []
    for part in items(name, ""):
        try:
            networks.append(ip_network(part))
            continue
        except ValueError:
            pass
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.\-]*", part):
            raise ImproperlyConfigured(
                f"{name} holds {part!r}: write hosts such as hub.example or networks such as "
                "10.1.0.0/16, with commas between them."
            )
        hosts.add(part.lower())
    return frozenset(hosts), tuple(networks)
