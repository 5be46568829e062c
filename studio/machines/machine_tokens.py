"""Machine tokens: what programs in a dev machine sign in with. Signed, not stored.

One speaks for the machine's owner, without any role above member, while the machine goes; a stop, a
reset or its deletion ends it.
"""

from dataclasses import dataclass
from uuid import UUID

from django.core import signing
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from studio.accounts.models import User
from studio.core.errors import StudioError
from studio.machines.models import HOLDS_NODE, Machine

PREFIX = "mach_"
_SIGNER = signing.Signer(salt="athanor.machine-token")
_SCOPES = frozenset({"read", "write", "chat"})


class BadMachineToken(StudioError):
    """Not a token of any machine that goes."""

    code = "not_signed_in"
    status = 401


@dataclass(frozen=True)
class MachineAuth:
    """What `request.auth` is for a program in a machine."""

    machine: Machine

    def allows(self, scope: str) -> bool:
        """Let it read, write and chat, and never administer."""
        return scope in _SCOPES


def make_machine_token(machine: Machine) -> str:
    """Return the token of a machine's present start."""
    return PREFIX + _SIGNER.sign(f"{machine.pk.hex}.{machine.life}.{machine.start}")


def read_machine_token(raw: str) -> Machine:
    """Return the machine a token speaks for, with its owner, who is limited to a member's rights.

    Raises:
        BadMachineToken: forged, of an earlier start, or its machine or owner is active no more.
    """
    try:
        key_hex, life, start = _SIGNER.unsign(raw.removeprefix(PREFIX)).split(".")
        machine = Machine.objects.select_related("owner").get(pk=UUID(key_hex))
    except (signing.BadSignature, ValueError, Machine.DoesNotExist) as error:
        raise BadMachineToken("This is not the token of a machine.") from error
    is_now = (int(life), int(start)) == (machine.life, machine.start)
    if not is_now or machine.status not in HOLDS_NODE or not machine.owner.is_active:
        raise BadMachineToken("This token's machine does not run now.")
    machine.owner.is_limited = True
    return machine


class MachineTokenAuthentication(BaseAuthentication):
    """Takes `Authorization: Bearer mach_...` and leaves any other to the next class."""

    def authenticate(self, request: Request) -> tuple[User, MachineAuth] | None:
        """Return the machine's owner and the machine.

        Raises:
            BadMachineToken: as `read_machine_token` says.
        """
        words = get_authorization_header(request).decode("latin-1").split()
        if len(words) != 2 or words[0].lower() != "bearer" or not words[1].startswith(PREFIX):
            return None
        machine = read_machine_token(words[1])
        return machine.owner, MachineAuth(machine)

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme, so that a refusal is 401."""
        return "Bearer"
