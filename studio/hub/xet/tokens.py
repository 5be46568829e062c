"""Signed words of the Xet doors: who may do what with one repo's chunks, and which bytes of a xorb.

Source: "Authentication and Authorization" of the Xet specification 1.1.0.
"""

import hashlib
import hmac
import time
from dataclasses import asdict, dataclass
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing

from studio.accounts.models import User
from studio.hub.access import Reader
from studio.hub.models import Repo

TOKEN_S = 15 * 60
_URL_S = 60 * 60
_SALT = "hub.xet.token"
_URL_SALT = "hub.xet.url"


class BadToken(ValueError):
    """The token is none of ours, or has expired."""


@dataclass(frozen=True)
class Grant:
    """What a token lets its bearer do, and until when."""

    user_id: int
    repo_id: int
    may_write: bool
    reads_all: bool
    expires_at: int
    """Unix time in seconds."""


def make_grant(reader: Reader, repo: Repo, *, may_write: bool) -> Grant:
    """Return the grant of somebody who has just been let in to a repo."""
    return Grant(
        user_id=reader.user.pk,
        repo_id=repo.pk,
        may_write=may_write,
        reads_all=reader.reads_all,
        expires_at=int(time.time()) + TOKEN_S,
    )


def sign_grant(grant: Grant) -> str:
    """Return the token of a grant."""
    return signing.dumps(asdict(grant), salt=_SALT)


def read_grant(token: str) -> Grant:
    """Return what a token grants.

    Raises:
        BadToken: it is none of ours, or has expired.
    """
    try:
        grant = Grant(**signing.loads(token, salt=_SALT))
    except (signing.BadSignature, TypeError) as error:
        raise BadToken("The Xet token is not one of this hub's: ask for another.") from error
    if grant.expires_at < time.time():
        raise BadToken("The Xet token has expired: ask for another.")
    return grant


def find_bearer(grant: Grant) -> tuple[Reader, Repo] | None:
    """Return on whose behalf a grant acts, and its repo; None once either is gone."""
    user = User.objects.filter(pk=grant.user_id, is_active=True).first()
    repo = Repo.objects.filter(pk=grant.repo_id).select_related("owner").first()
    if user is None or repo is None:
        return None
    user.is_limited = True  # a token of a repo speaks for no role
    return Reader(user, reads_all=grant.reads_all), repo


def get_hub_id() -> str:
    """Return a name of this hub's own, a part of its address.

    Clients remember by the address what a hub has. A new hub at the old place is another.
    """
    return hmac.new(settings.SECRET_KEY.encode(), b"hub.xet", hashlib.sha256).hexdigest()[:16]


def sign_ranges(xorb: str, ranges: list[tuple[int, int]]) -> str:
    """Return the query that opens byte ranges of a xorb, their last bytes included, for an hour."""
    expires_at = int(time.time()) + _URL_S
    listed = ",".join(f"{first}-{last}" for first, last in ranges)
    return urlencode({"r": listed, "e": expires_at, "s": _sign(xorb, listed, expires_at)})


def may_fetch(xorb: str, *, listed: str, expires_at: str, signature: str, wanted: str) -> bool:
    """Say whether a signed query opens the range that a request's header asks for."""
    if not expires_at.isdigit() or int(expires_at) < time.time():
        return False
    if not hmac.compare_digest(_sign(xorb, listed, int(expires_at)), signature):
        return False
    return wanted in listed.split(",") or wanted == listed


def _sign(xorb: str, listed: str, expires_at: int) -> str:
    return signing.Signer(salt=_URL_SALT).signature(f"{xorb}:{listed}:{expires_at}")
