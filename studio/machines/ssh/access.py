"""Who may sign in over SSH, to which machine, and for how long they may stay."""

from dataclasses import dataclass
from uuid import UUID

import asyncssh
from django.conf import settings

from studio.accounts.models import SshKey
from studio.accounts.ssh_keys import find_ssh_key, note_ssh_key_used
from studio.core.errors import NotFound, StudioError
from studio.machines.doors import Door, find_door
from studio.machines.models import Machine, Status
from studio.machines.selectors import find_machine


@dataclass(frozen=True)
class Guest:
    """Who signed in, by which key, to which machine."""

    key_id: int
    user_id: int
    username: str
    machine_id: UUID
    machine_key: str


def find_guest(name: str, public_key: asyncssh.SSHKey) -> Guest | None:
    """Return whom a key and a machine's name stand for; None wherever they do not go together.

    A name is looked for among the machines of the key's person, and nowhere else: to a stranger
    all names are alike.
    """
    key = find_ssh_key(public_key)
    if key is None:
        return None
    key.user.is_limited = True  # an operator's role opens nobody's machine
    try:
        machine = find_machine(key.user, name)
    except NotFound:
        return None
    return Guest(key.pk, key.user_id, key.user.username, machine.pk, machine.key)


def enter(guest: Guest) -> Door:
    """Return the way to a guest's machine, and note that the key was used.

    Raises:
        StudioError: it does not run; the sentence is for the guest.
    """
    machine = Machine.objects.select_related("node").get(pk=guest.machine_id)
    note_ssh_key_used(SshKey(pk=guest.key_id))
    where = f"{settings.PUBLIC_URL}/machines/{machine.key}"
    if machine.status in {Status.QUEUED, Status.STARTING}:
        raise StudioError(f"Machine {machine.name} is starting: try again in a moment ({where}).")
    if machine.status != Status.RUNNING:
        raise StudioError(f"Machine {machine.name} is {machine.status}: start it at {where}.")
    return find_door(machine)


def find_who_must_go(guests: list[Guest]) -> dict[Guest, str]:
    """Return the guests who may stay no longer, each with the sentence they are told."""
    keys = SshKey.objects.filter(pk__in={g.key_id for g in guests}, user__is_active=True)
    held = set(keys.values_list("pk", "user_id"))
    machines = Machine.objects.filter(pk__in={guest.machine_id for guest in guests})
    running = set(machines.filter(status=Status.RUNNING).values_list("pk", "owner_id"))
    gone = {}
    for guest in guests:
        if (guest.key_id, guest.user_id) not in held:
            gone[guest] = "This key was removed from your profile, or your account is disabled."
        elif (guest.machine_id, guest.user_id) not in running:
            gone[guest] = "The machine has stopped."
    return gone
