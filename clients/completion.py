"""What a shell may complete: names that the studio knows. Quick, and silent where it cannot say."""

from collections.abc import Iterable
from typing import Any

import httpx

from clients.account import NoAccount, find_account

_PATIENCE_S = 2.0  # somebody waits with a finger on a key


def complete_machine(incomplete: str) -> list[str]:
    """Return the names of one's machines that begin so."""
    return _begin(incomplete, (each["name"] for each in _ask("/api/machines/") or []))


def complete_image(incomplete: str) -> list[str]:
    """Return the names of images that begin so."""
    options = _ask("/api/machines/options/") or {"images": []}
    return _begin(incomplete, (each["name"] for each in options["images"]))


def complete_flavor(incomplete: str) -> list[str]:
    """Return the names of flavors that begin so."""
    return _begin(incomplete, (each["name"] for each in _ask("/api/flavors/") or []))


def complete_job(incomplete: str) -> list[str]:
    """Return the ids of the newest jobs that begin so."""
    page = _ask("/api/jobs/?page_size=50") or {"results": []}
    return _begin(incomplete, (each["id"] for each in page["results"]))


def _begin(incomplete: str, names: Iterable[str]) -> list[str]:
    try:
        return [name for name in names if name.startswith(incomplete)]
    except (KeyError, TypeError, AttributeError):
        return []


def _ask(path: str) -> Any:
    try:
        account = find_account()
        headers = {"Authorization": f"Bearer {account.token}"}
        answer = httpx.get(account.url + path, headers=headers, timeout=_PATIENCE_S)
        return answer.json() if answer.is_success else None
    except (NoAccount, httpx.HTTPError, httpx.InvalidURL, ValueError, OSError):
        return None
