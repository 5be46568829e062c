"""Who people are, and their secrets, kept only as hashes: one-time sign-in links and API tokens."""

from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower

MOST_USERNAME = 40
# A username is also the namespace of its repos, so it is what the hub's clients take as one.
_username_is_namespace = RegexValidator(
    r"\A[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*\Z",
    "Use letters and digits, with single dots, dashes or underscores between them.",
    code="bad_username",
)
_RESERVED = frozenset(
    {"api", "datasets", "healthz", "models", "signin", "spaces", "static", "v1", "ws"}
)


def refuse_reserved(username: str) -> None:
    """Refuse a username whose repos would lie at an address of the studio's own."""
    if username.lower() in _RESERVED:
        raise ValidationError("This name is the studio's own: pick another.", code="reserved")


class Role(models.TextChoices):
    """What a person may do beyond their own things. Each role includes the ones before it."""

    MEMBER = "member"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"


_RANKS = {Role.MEMBER: 0, Role.OPERATOR: 1, Role.ADMINISTRATOR: 2}


class User(AbstractUser):
    """A person, or the platform's own account `athanor`, which nobody signs in to."""

    username = models.CharField(
        max_length=MOST_USERNAME,
        unique=True,
        validators=[_username_is_namespace, refuse_reserved],
        error_messages={"unique": "This name is taken: pick another."},
    )
    email = models.EmailField(blank=True)
    display_name = models.CharField(max_length=80, blank=True)
    role = models.CharField(max_length=16, choices=Role.choices, default=Role.MEMBER)
    language = models.CharField(max_length=8, blank=True, choices=[("zh", "zh"), ("en", "en")])
    theme = models.CharField(
        max_length=8, blank=True, choices=[("light", "light"), ("dark", "dark")]
    )

    REQUIRED_FIELDS: ClassVar[list[str]] = []
    # Not kept: who came with a run's token, or one without `admin`, is a member like any other.
    is_limited = False

    class Meta:
        """Names and addresses that differ by case alone would be one person to others."""

        constraints = [
            models.UniqueConstraint(
                Lower("username"),
                name="user_name_once",
                violation_error_code="name_taken",
                violation_error_message="username: this name is taken: pick another.",
            ),
            models.UniqueConstraint(
                Lower("email"),
                condition=~Q(email=""),
                name="user_email_once",
                violation_error_code="email_taken",
                violation_error_message="email: another person has this address.",
            ),
            models.CheckConstraint(
                condition=Q(role__in=["member", "operator", "administrator"]),
                name="user_role_known",
            ),
        ]

    def has_role(self, role: str) -> bool:
        """Say whether the person has this role or a higher one, as they came in."""
        own = Role.MEMBER if self.is_limited else Role(self.role)
        return self.is_active and _RANKS[own] >= _RANKS[Role(role)]


class Membership(models.TextChoices):
    """What somebody may do in an organization. Each role includes the ones before it."""

    MEMBER = "member"
    CONTRIBUTOR = "contributor"
    ADMIN = "admin"


class Organization(models.Model):
    """People who share a namespace of repos: a course, a lab, a team."""

    name = models.CharField(
        max_length=MOST_USERNAME, validators=[_username_is_namespace, refuse_reserved]
    )
    """A namespace like a username, and never the same as one."""
    display_name = models.CharField(max_length=80, blank=True)
    about = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """A name is taken whatever its capitals."""

        constraints = [
            models.UniqueConstraint(
                Lower("name"),
                name="organization_name_once",
                violation_error_code="name_taken",
                violation_error_message="name: this name is taken: pick another.",
            )
        ]

    def __str__(self) -> str:
        return self.name


class OrganizationMember(models.Model):
    """Somebody belongs to an organization."""

    organization = models.ForeignKey(
        Organization, on_delete=models.CASCADE, related_name="memberships"
    )
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Membership.choices, default=Membership.MEMBER)
    joined_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        """Once is enough."""

        constraints = [
            models.UniqueConstraint(
                fields=["organization", "user"], name="organization_member_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.organization_id}"


class SigninLink(models.Model):
    """A link that signs its person in once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="signin_links")
    token_hash = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)


class PersonalToken(models.Model):
    """A token for scripts, shown once."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="personal_tokens")
    name = models.CharField(max_length=80)
    prefix = models.CharField(max_length=12)
    token_hash = models.CharField(max_length=64, unique=True)
    scopes = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    def allows(self, scope: str) -> bool:
        """Say whether the token has a scope; `write` includes `read`, `admin` includes both."""
        held = set(self.scopes)
        if scope == "read":
            return bool(held & {"read", "write", "admin"})
        if scope == "write":
            return bool(held & {"write", "admin"})
        return scope in held


class SshKey(models.Model):
    """A public key with which a person signs in over SSH. It is one person's alone."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="ssh_keys")
    name = models.CharField(max_length=80)
    type = models.CharField(max_length=40)
    fingerprint = models.CharField(max_length=64, unique=True)
    """`SHA256:...`, as `ssh-keygen -l` prints it."""
    public_key = models.TextField()
    """In OpenSSH's one line, without a comment."""
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        """Return the name."""
        return self.name
