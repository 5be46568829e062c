"""Who may do what: signed in, with the token's scope; operators and administrators by role."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from studio.core.errors import NotFound


class SignedInWithScope(BasePermission):
    """A signed-in person; a token needs `read` for reading, `write` for changing.

    A view may name another scope instead: `required_scope = "chat"`.
    """

    message = "This token lacks the scope for it: make one with the scope on your profile page."

    def has_permission(self, request: Request, view: Any) -> bool:
        """Say whether the caller may come in at all."""
        if not request.user.is_authenticated:
            return False
        auth: Any = request.auth
        if auth is None:  # a browser session may do what its person may
            return True
        wanted = getattr(view, "required_scope", None) or (
            "read" if request.method in SAFE_METHODS else "write"
        )
        return bool(auth.allows(wanted))


class SignedInByBrowser(SignedInWithScope):
    """A person at a browser: no token may make tokens or passwords, or it could widen itself."""

    message = "No token may do this: sign in with a browser."

    def has_permission(self, request: Request, view: Any) -> bool:
        """Refuse every token that would change something."""
        is_reading = request.method in SAFE_METHODS
        return super().has_permission(request, view) and (request.auth is None or is_reading)


class IsOperator(SignedInWithScope):
    """Operators and administrators; to anybody else the door is not there."""

    required_role = "operator"

    def has_permission(self, request: Request, view: Any) -> bool:
        """Answer 404 rather than 403 to those without the role."""
        if not super().has_permission(request, view):
            return False
        user: Any = request.user
        if not user.has_role(self.required_role):
            raise NotFound
        return True


class IsAdministrator(IsOperator):
    """Administrators only."""

    required_role = "administrator"
