"""What may be seen of people: all of them by operators, oneself by anybody."""

from django.db.models import Q, QuerySet
from django.utils import timezone

from studio.accounts.models import PersonalToken, Role, SigninLink, User
from studio.accounts.secret_hash import hash_secret
from studio.core.errors import NotFound

PLATFORM_USERNAME = "athanor"


def get_platform_user() -> User:
    """Return the platform's own account, made where it is missing. Nobody can sign in to it."""
    user, is_new = User.objects.get_or_create(
        username=PLATFORM_USERNAME,
        defaults={"display_name": "Athanor", "role": Role.ADMINISTRATOR, "password": "!"},
    )
    if is_new:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return user


def lock_names() -> None:
    """Let one name be given at a time: no constraint spans people and organizations."""
    User.objects.select_for_update().filter(pk=get_platform_user().pk).first()


def list_users(viewer: User, *, search: str = "") -> QuerySet[User]:
    """Return the people an operator may see, by name; the platform's own account is none.

    Raises:
        NotFound: the viewer does not operate.
    """
    if not viewer.has_role(Role.OPERATOR):
        raise NotFound
    users = User.objects.exclude(username=PLATFORM_USERNAME).order_by("username")
    if search:
        users = users.filter(
            Q(username__icontains=search)
            | Q(display_name__icontains=search)
            | Q(email__icontains=search)
        )
    return users


def get_user(viewer: User, user_id: int) -> User:
    """Return a person by id.

    Raises:
        NotFound: the viewer does not operate, or there is none.
    """
    user = list_users(viewer).filter(pk=user_id).first()
    if user is None:
        raise NotFound
    return user


def find_user(viewer: User, username: str) -> User:
    """Return a person by name, as far as the viewer may know of them.

    Raises:
        NotFound: it is another person and the viewer does not operate, or there is none.
    """
    if username == viewer.username:
        return viewer
    user = list_users(viewer).filter(username=username).first()
    if user is None:
        raise NotFound
    return user


def list_tokens(viewer: User) -> QuerySet[PersonalToken]:
    """Return the viewer's own tokens, newest first."""
    return PersonalToken.objects.filter(user=viewer).order_by("-created_at", "-pk")


def find_signin_link(raw: str) -> SigninLink | None:
    """Return the link of this text where it still lets somebody in."""
    return (
        SigninLink.objects.select_related("user")
        .filter(
            token_hash=hash_secret(raw),
            used_at=None,
            expires_at__gt=timezone.now(),
            user__is_active=True,
        )
        .first()
    )
