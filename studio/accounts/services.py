"""What may be done with people, their tokens and their sign-in links."""

from datetime import timedelta
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from studio.accounts.authentication import PREFIX
from studio.accounts.models import Organization, PersonalToken, Role, SigninLink, User
from studio.accounts.secret_hash import hash_secret, make_secret
from studio.accounts.selectors import PLATFORM_USERNAME, lock_names
from studio.core import audit
from studio.core.errors import BadInput, Conflict, Forbidden

SCOPES = ("read", "write", "chat", "admin")
LINK_LIFE = timedelta(days=3)
MOST_TOKENS = 100
MOST_DAYS = 3650


@transaction.atomic
def create_user(
    *,
    by: User | None,
    username: str,
    role: str = Role.MEMBER,
    display_name: str = "",
    email: str = "",
) -> User:
    """Make a person without a password; a sign-in link lets them in. `by` None is the platform.

    Raises:
        Forbidden: the maker does not administer.
        ValidationError: a field holds what it may not, or the name or address is taken.
    """
    _check_administers(by)
    lock_names()
    if username.lower() == PLATFORM_USERNAME:
        raise BadInput(
            "username: this is the studio's own account: pick another.",
            field="username",
            code="reserved",
        )
    if Organization.objects.filter(name__iexact=username).exists():
        raise BadInput(
            "username: an organization has this name: pick another.",
            field="username",
            code="name_taken",
        )
    user = User(username=username, role=role, display_name=display_name, email=email)
    user.set_unusable_password()
    user.full_clean()
    user.save(force_insert=True)
    audit.record("user.created", actor=by, subject=username, role=role)
    return user


@transaction.atomic
def update_user(*, by: User, user: User, **changes: Any) -> User:
    """Change a person's `display_name`, `role` or `is_active`. Who is disabled loses every way in.

    Raises:
        Forbidden: the caller does not administer.
        Conflict: nobody would be left to administer, or it is the caller who would be disabled.
        ValidationError: a field holds what it may not.
    """
    _check_administers(by)
    users = {person.pk: person for person in _lock_with_administrators(user)}
    user = users[user.pk]
    for name, value in changes.items():
        setattr(user, name, value)
    user.full_clean(exclude=["password"])
    if user == by and not user.is_active:
        raise Conflict("You cannot disable yourself: ask another administrator.", code="is_you")
    if not any(person.has_role(Role.ADMINISTRATOR) for person in users.values()):
        raise Conflict(
            "This is the last administrator: make another one first.", code="last_administrator"
        )
    user.save(update_fields=list(changes))
    if not user.is_active:
        user.personal_tokens.all().delete()
        user.signin_links.all().delete()
    audit.record("user.changed", actor=by, subject=user.username, **changes)
    return user


@transaction.atomic
def update_me(*, user: User, **changes: Any) -> User:
    """Change one's own `display_name`, `email`, `language` or `theme`.

    Raises:
        ValidationError: a field holds what it may not, or the address is taken.
    """
    for name, value in changes.items():
        setattr(user, name, value)
    user.full_clean(exclude=["password"])
    user.save(update_fields=list(changes))
    if "email" in changes:  # allauth's copy would let the old address sign in
        EmailAddress.objects.filter(user=user).exclude(email__iexact=user.email).delete()
    audit.record("user.changed_self", actor=user, subject=user.username, fields=sorted(changes))
    return user


@transaction.atomic
def set_password(*, user: User, new: str, current: str | None) -> None:
    """Give oneself a password; every other session of the person ends.

    Raises:
        BadInput: the current one does not match, or the new one is too easy.
    """
    if user.has_usable_password() and not user.check_password(current or ""):
        raise BadInput(
            "current_password: this is not your present password.",
            field="current_password",
            code="wrong_password",
        )
    try:
        password_validation.validate_password(new, user)
    except ValidationError as error:
        problem = error.error_list[0]
        raise BadInput(
            f"new_password: {' '.join(error.messages)}",
            field="new_password",
            code=problem.code or "weak_password",
        ) from error
    user.set_password(new)
    user.save(update_fields=["password"])
    audit.record("user.password_set", actor=user, subject=user.username)


@transaction.atomic
def create_personal_token(
    *, user: User, name: str, scopes: list[str], expires_in_days: int | None
) -> tuple[PersonalToken, str]:
    """Make a token for scripts and return it with its text, which is kept nowhere.

    Without `expires_in_days` it never expires.

    Raises:
        BadInput: a scope is unknown or not the person's to give, or the days are out of bounds.
        Conflict: the person has as many as anybody may.
        ValidationError: the name is blank or too long.
    """
    User.objects.select_for_update().get(pk=user.pk)
    _check_token_wish(user, scopes, expires_in_days)
    raw = f"{PREFIX}{make_secret()}"
    days = timedelta(days=expires_in_days) if expires_in_days else None
    token = PersonalToken(
        user=user,
        name=name,
        prefix=raw[:12],
        token_hash=hash_secret(raw),
        scopes=[scope for scope in SCOPES if scope in scopes],
        expires_at=timezone.now() + days if days else None,
    )
    token.full_clean()
    token.save(force_insert=True)
    audit.record("token.created", actor=user, subject=f"{token.pk}", scopes=token.scopes)
    return token, raw


@transaction.atomic
def revoke_token(*, by: User, token: PersonalToken) -> None:
    """End a token of one's own.

    Raises:
        Forbidden: it is another's.
    """
    if token.user_id != by.pk:
        raise Forbidden("This token is another person's.")
    audit.record("token.revoked", actor=by, subject=f"{token.pk}")
    token.delete()


def create_signin_link(*, user: User, by: User | None = None) -> str:
    """Return the address of a fresh one-time link; the person's earlier ones end.

    Raises:
        Forbidden: the caller does not administer.
        Conflict: the person is disabled, or is the platform's own account.
    """
    return make_signin_link(user=user, by=by)[0]


@transaction.atomic
def make_signin_link(*, user: User, by: User | None) -> tuple[str, SigninLink]:
    """Do as `create_signin_link` and return the row too."""
    _check_administers(by)
    if not user.is_active or user.username == PLATFORM_USERNAME:
        raise Conflict(f"{user.username} may not sign in: enable them first.", code="disabled")
    user.signin_links.all().delete()
    raw = make_secret()
    link = SigninLink.objects.create(
        user=user, token_hash=hash_secret(raw), expires_at=timezone.now() + LINK_LIFE
    )
    audit.record("signin_link.created", actor=by, subject=user.username)
    return f"{settings.PUBLIC_URL}/signin/{raw}/", link


@transaction.atomic
def use_signin_link(*, raw: str) -> User | None:
    """Use up a link and return its person; None where it does not let anybody in (any more)."""
    now = timezone.now()
    good = SigninLink.objects.filter(
        token_hash=hash_secret(raw), used_at=None, expires_at__gt=now, user__is_active=True
    )
    if good.update(used_at=now) != 1:
        return None
    user = User.objects.get(signin_links__token_hash=hash_secret(raw))
    audit.record("signin_link.used", actor=user, subject=user.username)
    return user


def _check_administers(by: User | None) -> None:
    if by is not None and not by.has_role(Role.ADMINISTRATOR):
        raise Forbidden("Only administrators may do this.")


def _lock_with_administrators(user: User) -> list[User]:
    """Return the person and all administrators, locked in one order."""
    wanted = User.objects.filter(role=Role.ADMINISTRATOR) | User.objects.filter(pk=user.pk)
    wanted = wanted.exclude(username=PLATFORM_USERNAME)
    return list(wanted.select_for_update().order_by("pk"))


def _check_token_wish(user: User, scopes: list[str], expires_in_days: int | None) -> None:
    if not scopes or set(scopes) - set(SCOPES):
        raise BadInput(
            f"scopes: pick from {', '.join(SCOPES)}.",
            field="scopes",
            code="bad_scopes",
            known=", ".join(SCOPES),
        )
    if "admin" in scopes and not user.has_role(Role.OPERATOR):
        raise BadInput(
            "scopes: only operators and administrators may give admin: leave it out.",
            field="scopes",
            code="scope_not_yours",
        )
    if expires_in_days is not None and not 1 <= expires_in_days <= MOST_DAYS:
        raise BadInput(
            f"expires_in_days: write a whole number from 1 to {MOST_DAYS}, or null for never.",
            field="expires_in_days",
            code="bad_expiry",
            most=MOST_DAYS,
        )
    if user.personal_tokens.count() >= MOST_TOKENS:
        raise Conflict(f"You have {MOST_TOKENS} tokens: delete one first.", code="too_many")
