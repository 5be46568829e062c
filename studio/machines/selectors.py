"""Which machines one may see, and what else a page of them shows."""

from django.db.models import QuerySet
from django.utils import timezone

from studio.accounts.models import OrganizationMember, Role, User
from studio.compute.selectors import list_online_nodes
from studio.core.errors import NotFound
from studio.core.sentences import say
from studio.machines.models import Audience, Image, Machine, NodeEngine, PublishedPort, Status
from studio.machines.placing import list_able_nodes

_JOINED = ("owner", "image__node", "flavor", "node", "lease", "activity")
_GONE = [Status.DELETING, Status.DELETED]


def list_machines(viewer: User) -> QuerySet[Machine]:
    """Return a person's own machines, newest first."""
    mine = Machine.objects.filter(owner=viewer).exclude(status=Status.DELETED)
    return mine.select_related(*_JOINED).order_by("-created_at")


def list_all_machines() -> QuerySet[Machine]:
    """Return everybody's, newest first: what an operator sees."""
    every = Machine.objects.exclude(status=Status.DELETED)
    return every.select_related(*_JOINED).order_by("-created_at")


def find_machine(viewer: User, name_or_key: str) -> Machine:
    """Return one of a person's machines; an operator finds others' by their keys.

    Raises:
        NotFound: there is none of that name or key that the viewer may see.
    """
    mine = Machine.objects.exclude(status__in=_GONE).select_related(*_JOINED)
    machine = (
        mine.filter(owner=viewer, key=name_or_key).first()
        or mine.filter(owner=viewer, name=name_or_key).first()
    )
    if machine is None and viewer.has_role(Role.OPERATOR):
        machine = mine.filter(key=name_or_key).first()
    if machine is None:
        raise NotFound
    return machine


def find_enterable(viewer: User, key: str, port: int) -> Machine:
    """Return a machine whose port a person may open: their own, or one published for them.

    An operator's role opens nothing: what is in a machine is its owner's.

    Raises:
        NotFound: there is none.
    """
    machine = get_by_key(key)
    if machine is None or not may_open(viewer, machine, port):
        raise NotFound
    return machine


def get_by_key(key: str) -> Machine | None:
    """Return the machine of a key, None where there is none; who may is asked by the caller."""
    machines = Machine.objects.exclude(status__in=_GONE)
    return machines.filter(key=key).select_related(*_JOINED).first()


def list_ports(machine: Machine) -> QuerySet[PublishedPort]:
    """Return the published ports, past ones too."""
    return machine.ports.order_by("port")


def list_offered_images() -> QuerySet[Image]:
    """Return the images that are everybody's: no saved ones, which lie on one node."""
    offered = Image.objects.filter(is_active=True, owner=None)
    return offered.prefetch_related("flavors").order_by("created_at")


def get_why_no_machines() -> str:
    """Return why no machine can run anywhere now, one sentence; blank where one can."""
    if list_able_nodes():
        return ""
    nodes = list_online_nodes()
    if not nodes:
        return say("no_node")
    told = NodeEngine.objects.filter(node__in=nodes).exclude(problem="").first()
    return told.problem if told else say("no_engine")


def may_open(viewer: User | None, machine: Machine, port: int) -> bool:
    """Say whether one may open a port in the browser: the owner any, others what is published.

    `viewer` None is nobody who is known.
    """
    if viewer is not None and viewer.is_active and viewer.pk == machine.owner_id:
        return True
    published = machine.ports.filter(port=port).first()
    if published is None or (published.until and published.until <= timezone.now()):
        return False
    if published.audience == Audience.PUBLIC:
        return True
    if viewer is None or not viewer.is_active or published.audience != Audience.CLASS:
        return False
    theirs = OrganizationMember.objects.filter(user_id=machine.owner_id)
    shared = OrganizationMember.objects.filter(
        user_id=viewer.pk, organization_id__in=theirs.values("organization_id")
    )
    return shared.exists()
