"""Plain functions that make rows for tests. People have names: see conftest."""

from studio.accounts.models import Role, User


def make_user(username: str, *, role: str = Role.MEMBER) -> User:
    """Make a person whose password is their name followed by `-password`."""
    return User.objects.create_user(username=username, password=f"{username}-password", role=role)
