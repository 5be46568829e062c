"""Organizations: people who share a namespace of repos. A course is one, a lab, a team."""

from django.db import IntegrityError, transaction
from django.db.models import Count, QuerySet
from django.db.models.deletion import ProtectedError

from studio.accounts.models import Membership, Organization, OrganizationMember, Role, User
from studio.accounts.selectors import PLATFORM_USERNAME, lock_names
from studio.core import audit
from studio.core.errors import BadInput, Conflict, Forbidden, NotFound


def list_organizations(viewer: User) -> QuerySet[Organization]:
    """Return the organizations one belongs to, to an administrator all; with `num_members`."""
    found = Organization.objects.annotate(num_members=Count("memberships")).order_by("name")
    if viewer.has_role(Role.ADMINISTRATOR):
        return found
    mine = OrganizationMember.objects.filter(user=viewer).values("organization_id")
    return found.filter(pk__in=mine)


def get_organization(viewer: User, name: str) -> Organization:
    """Return an organization one may look into.

    Raises:
        NotFound: there is none, or one does not belong to it.
    """
    organization = list_organizations(viewer).filter(name__iexact=name).first()
    if organization is None:
        raise NotFound
    return organization


def list_members(organization: Organization) -> QuerySet[OrganizationMember]:
    """Return an organization's members by name."""
    return organization.memberships.select_related("user").order_by("user__username")


def find_role(viewer: User, organization: Organization) -> str:
    """Return what one is in an organization; empty for who only administers the studio."""
    member = organization.memberships.filter(user=viewer).first()
    return member.role if member else ""


@transaction.atomic
def create_organization(
    *, by: User, name: str, display_name: str = "", about: str = ""
) -> Organization:
    """Make an organization whose first admin is the maker.

    Raises:
        Forbidden: the maker does not operate: a namespace is for others too.
        ValidationError: the name is none.
        Conflict: the name is taken, by an organization or a person.
    """
    if not by.has_role(Role.OPERATOR):
        raise Forbidden("Operators make organizations: ask one.")
    lock_names()
    taken = f"name: {name[:60]} is taken: pick another."
    if name.lower() == PLATFORM_USERNAME or User.objects.filter(username__iexact=name).exists():
        raise Conflict(taken, field="name", code="name_taken")
    organization = Organization(name=name, display_name=display_name, about=about)
    organization.full_clean(validate_constraints=False)
    try:
        with transaction.atomic():
            organization.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict(taken, field="name", code="name_taken") from error
    OrganizationMember.objects.create(organization=organization, user=by, role=Membership.ADMIN)
    audit.record("organization.created", actor=by, subject=name)
    return organization


@transaction.atomic
def update_organization(
    *, by: User, organization: Organization, display_name: str | None, about: str | None
) -> Organization:
    """Change what an organization says of itself.

    Raises:
        Forbidden: the caller does not run it.
    """
    _check_runs(by, organization)
    if display_name is not None:
        organization.display_name = display_name
    if about is not None:
        organization.about = about
    organization.full_clean(validate_constraints=False)
    organization.save()
    audit.record("organization.updated", actor=by, subject=organization.name)
    return organization


@transaction.atomic
def delete_organization(*, by: User, organization: Organization) -> None:
    """Delete an organization that has no repos.

    Raises:
        Forbidden: the caller does not run it.
        Conflict: it has repos; they have to be moved or deleted first.
    """
    _check_runs(by, organization)
    try:
        organization.delete()
    except ProtectedError as error:
        message = f"{organization.name} still has repos: move or delete them first."
        raise Conflict(message, code="organization_has_repos") from error
    audit.record("organization.deleted", actor=by, subject=organization.name)


@transaction.atomic
def set_member(
    *, by: User, organization: Organization, username: str, role: str = Membership.MEMBER
) -> OrganizationMember:
    """Take somebody in, or give them another role.

    Raises:
        Forbidden: the caller does not run it.
        NotFound: there is no such person.
        Conflict: nobody would be left to run it.
    """
    _check_runs(by, organization)
    Organization.objects.select_for_update().get(pk=organization.pk)
    people = User.objects.exclude(username=PLATFORM_USERNAME)
    user = people.filter(username__iexact=username).first()
    if user is None:
        message = f"username: there is nobody named {username[:60]}."
        raise BadInput(message, field="username", code="no_such_user")
    if role != Membership.ADMIN:
        _check_one_is_left(organization, user)
    member, _ = OrganizationMember.objects.update_or_create(
        organization=organization, user=user, defaults={"role": role}
    )
    audit.record(
        "organization.member_set",
        actor=by,
        subject=organization.name,
        user=user.username,
        role=role,
    )
    return member


@transaction.atomic
def remove_member(*, by: User, organization: Organization, username: str) -> None:
    """Let somebody go; everybody may go themselves.

    Raises:
        Forbidden: the caller does not run it, and it is somebody else.
        NotFound: they are no member.
        Conflict: nobody would be left to run it.
    """
    if username.lower() != by.username.lower():
        _check_runs(by, organization)
    Organization.objects.select_for_update().get(pk=organization.pk)
    member = organization.memberships.filter(user__username__iexact=username).first()
    if member is None:
        raise NotFound
    _check_one_is_left(organization, member.user)
    member.delete()
    audit.record("organization.member_left", actor=by, subject=organization.name, user=username)


def _check_runs(by: User, organization: Organization) -> None:
    if by.has_role(Role.ADMINISTRATOR) or find_role(by, organization) == Membership.ADMIN:
        return
    raise Forbidden(f"{organization.name}: only its admins may do this.", code="not_admin")


def _check_one_is_left(organization: Organization, leaving: User) -> None:
    admins = organization.memberships.filter(role=Membership.ADMIN)
    if admins.filter(user=leaving).exists() and not admins.exclude(user=leaving).exists():
        message = f"{organization.name} would have no admin left: make somebody else one first."
        raise Conflict(message, field="role", code="last_admin")
