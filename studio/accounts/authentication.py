"""How a caller says who they are: a personal token of a script, or the browser's session."""

from datetime import timedelta

from django.db.models import Q
from django.utils import timezone
from rest_framework.authentication import (
    BaseAuthentication,
    SessionAuthentication,
    get_authorization_header,
)
from rest_framework.exceptions import AuthenticationFailed, PermissionDenied
from rest_framework.request import Request

from studio.accounts.models import PersonalToken, User
from studio.accounts.secret_hash import hash_secret
from studio.core.errors import Forbidden

PREFIX = "ath_"
# How exact `last_used_at` is: a write per request would make every read a write.
_USE_NOTED_EVERY = timedelta(minutes=1)


def read_bearer(header: bytes) -> str | None:
    """Return the personal token in an Authorization header; None where it holds none."""
    words = header.decode("latin-1").split()
    if len(words) != 2 or words[0].lower() != "bearer" or not words[1].startswith(PREFIX):
        return None
    return words[1]


def find_token(raw: str) -> PersonalToken | None:
    """Return a living token of an active person, its use noted; None where there is none.

    Without the scope `admin` its person has no role above member.
    """
    token = (
        PersonalToken.objects.select_related("user")
        .filter(token_hash=hash_secret(raw), user__is_active=True)
        .first()
    )
    if token is None or (token.expires_at and token.expires_at <= timezone.now()):
        return None
    token.user.is_limited = not token.allows("admin")
    _note_use(token)
    return token


class PersonalTokenAuthentication(BaseAuthentication):
    """Takes `Authorization: Bearer ath_...` and leaves any other to the next class."""

    def authenticate(self, request: Request) -> tuple[User, PersonalToken] | None:
        """Return the token's person and the token.

        Raises:
            AuthenticationFailed: it is unknown, expired, or its person is disabled.
        """
        raw = read_bearer(get_authorization_header(request))
        if raw is None:
            return None
        token = find_token(raw)
        if token is None:
            raise AuthenticationFailed("This token is unknown or has expired: make a new one.")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme, so that a refusal is 401."""
        return "Bearer"


class BrowserSessionAuthentication(SessionAuthentication):
    """The browser's session; whatever changes something needs the CSRF token too."""

    def enforce_csrf(self, request: Request) -> None:
        """Refuse a change that another site may have sent.

        Raises:
            Forbidden: the token is missing or wrong.
        """
        try:
            super().enforce_csrf(request)
        except PermissionDenied as error:
            raise Forbidden(
                "The X-CSRFToken header does not match the csrftoken cookie: load the page anew.",
                code="csrf_failed",
            ) from error

    def authenticate_header(self, request: Request) -> str:
        """Name a scheme, so that a refusal is 401."""
        return "Session"


def _note_use(token: PersonalToken) -> None:
    now = timezone.now()
    if token.last_used_at and token.last_used_at > now - _USE_NOTED_EVERY:
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - _USE_NOTED_EVERY)
    PersonalToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
    token.last_used_at = now
