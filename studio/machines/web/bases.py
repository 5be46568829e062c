"""What a cookie at a machine's origin rests on: the sign-in that asked for it, and ends with.

Sealed, for the cookie lies where it is no secret of the studio's alone: whoever read a session's
key out of it would have the session.
"""

import json
from importlib import import_module

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.db.models import Q
from django.utils import timezone
from rest_framework.request import Request

from studio.accounts.models import PersonalToken, User
from studio.core.errors import StudioError
from studio.core.sealing import seal, unseal
from studio.machines.machine_tokens import MachineAuth, make_machine_token, read_machine_token

_PURPOSE = "athanor.machine-basis"


def make_basis(request: Request) -> str:
    """Return, sealed, how the caller of a request is signed in."""
    if isinstance(request.auth, MachineAuth):
        how = ["machine", make_machine_token(request.auth.machine)]
    elif isinstance(request.auth, PersonalToken):
        how = ["token", str(request.auth.pk)]
    else:
        how = ["session", request.session.session_key or ""]
    return seal(_PURPOSE, json.dumps(how))


def holds(basis: str, user: User) -> bool:
    """Say whether this sign-in of a person's goes on; it does not after a sign-out."""
    opened = unseal(_PURPOSE, basis)
    if not opened:
        return False
    kind, what = json.loads(opened)
    if kind == "machine":
        return _has_machine(what, user)
    if kind == "token":
        living = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
        return PersonalToken.objects.filter(living, pk=int(what), user=user).exists()
    store = import_module(settings.SESSION_ENGINE).SessionStore(what)
    return bool(what) and store.get(SESSION_KEY) == str(user.pk)


def _has_machine(token: str, user: User) -> bool:
    try:
        return read_machine_token(token).owner_id == user.pk
    except StudioError:
        return False
