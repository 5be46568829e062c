"""Who calls an API view: a person of ours, which its permission class has made sure of."""

from rest_framework.request import Request

from studio.accounts.models import User


def get_caller(request: Request) -> User:
    """Return the signed-in person of a request."""
    assert isinstance(request.user, User), "the permission class lets only people in"
    return request.user
