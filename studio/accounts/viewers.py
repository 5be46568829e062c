"""Who asks, with the type that services want."""

from rest_framework.request import Request

from studio.accounts.models import User


def viewer_of(request: Request) -> User:
    """Return who asks; the view's permission class has let nobody else in."""
    assert isinstance(request.user, User)
    return request.user
