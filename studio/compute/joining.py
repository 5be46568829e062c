"""How a machine becomes a node: an administrator's one-time token, changed once for its own."""

import re
import secrets
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from studio.accounts.models import Role, User
from studio.compute.models import JoinToken, Node
from studio.compute.services import PREFIX, give_token, hash_token
from studio.core import audit
from studio.core.errors import BadInput, Conflict, Forbidden, NotFound, StudioError

JOIN_PREFIX = "join_"
LASTS_S = 3600
LEAST_S, MOST_S = 60, 7 * 24 * 3600
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


class BadJoinToken(StudioError):
    """No token that lets a machine in now."""

    code = "bad_join_token"
    status = 403


@dataclass(frozen=True)
class Welcome:
    """What a new node is told, once."""

    name: str
    node_token: str
    broker_url: str


@transaction.atomic
def make_join_token(
    *, by: User | None, name: str = "", lasts_s: int = LASTS_S
) -> tuple[str, JoinToken]:
    """Return a new token that lets one machine join, and its row. `by` None is the shell's.

    Raises:
        Forbidden: the caller is no administrator.
        BadInput: the name is none, or the time too short or long.
        Conflict: a node has that name.
    """
    check_administers(by)
    if name:
        _check_name(name)
    if not LEAST_S <= lasts_s <= MOST_S:
        raise BadInput(
            f"lasts_s: from {LEAST_S} to {MOST_S} seconds.",
            field="lasts_s",
            code="bad_duration",
            least_s=LEAST_S,
            most_s=MOST_S,
        )
    raw, now = JOIN_PREFIX + secrets.token_urlsafe(32), timezone.now()
    token = JoinToken.objects.create(
        token_hash=hash_token(raw),
        name=name,
        made_by=by,
        made_at=now,
        expires_at=now + timedelta(seconds=lasts_s),
    )
    audit.record("node.join_token_made", actor=by, subject=name or "any", token=token.pk)
    return raw, token


def list_join_tokens() -> list[JoinToken]:
    """Return the tokens that would still let a machine in, newest first."""
    still = JoinToken.objects.filter(used_at__isnull=True, expires_at__gt=timezone.now())
    return list(still.select_related("made_by").order_by("-made_at"))


def revoke_join_token(*, by: User | None, token_id: int) -> None:
    """Let nobody in by this token any more.

    Raises:
        Forbidden: the caller is no administrator.
        NotFound: there is no such token, or it has been used.
    """
    check_administers(by)
    gone, _ = JoinToken.objects.filter(pk=token_id, used_at__isnull=True).delete()
    if not gone:
        raise NotFound
    audit.record("node.join_token_revoked", actor=by, subject=str(token_id))


@transaction.atomic
def join_node(*, raw: str, name: str, default_name: str = "", is_trial: bool = False) -> Welcome:
    """Change a join token for a node's own. What is refused leaves the token as it was.

    `default_name` is for where neither the caller nor the token names one.
    A trial looks at the token and the name and changes nothing; its node token is blank.

    Raises:
        BadJoinToken: it is none, was used, or its time is over.
        BadInput: the name is none, or not the token's.
        Conflict: a node has the name.
    """
    token = _read_join_token(raw)
    name = name or token.name or default_name
    if token.name and name != token.name:
        raise BadInput(
            f"name: this join token is for the name {token.name}: use that.",
            field="name",
            code="join_name_fixed",
            name=token.name,
        )
    _check_name(name)
    if is_trial:
        return Welcome(name, "", settings.NODE_BROKER_URL)
    _spend(token)
    node = Node.objects.select_for_update().filter(name__iexact=name).first()
    if node is not None and node.removed_at is None:
        _check_name(name)  # somebody has joined under it meanwhile: refused, the token unspent
    if node is None:
        node = Node(name=name)
    node_token = PREFIX + secrets.token_urlsafe(32)
    give_token(node, node_token)
    audit.record("node.joined", actor=token.made_by, subject=node.name, token=token.pk)
    return Welcome(node.name, node_token, settings.NODE_BROKER_URL)


def say_command(raw: str, token: JoinToken) -> str:
    """Return what is to be typed on the machine that shall be a node."""
    named = f" --name {token.name}" if token.name else ""
    return f"athanor node join {settings.PUBLIC_URL} --token {raw}{named}"


def check_administers(by: User | None) -> None:
    """Let administrators pass, and the platform's own shell, which is None.

    Raises:
        Forbidden: it is somebody else.
    """
    if by is not None and not by.has_role(Role.ADMINISTRATOR):
        raise Forbidden("Only administrators look after nodes.")


def _read_join_token(raw: str) -> JoinToken:
    token = JoinToken.objects.filter(token_hash=hash_token(raw)).first()
    if token is None or not raw.startswith(JOIN_PREFIX):
        raise BadJoinToken(
            "token: this is no join token of this studio: copy all of it, or have a new one made.",
            field="token",
            code="unknown_join_token",
        )
    _check_unused(token)
    if token.expires_at <= timezone.now():
        raise BadJoinToken(
            f"token: this join token ended at {token.expires_at:%Y-%m-%d %H:%M} UTC: have a new "
            "one made.",
            field="token",
            code="join_token_expired",
        )
    return token


def _check_unused(token: JoinToken) -> None:
    if token.used_at is not None:
        raise BadJoinToken(
            f"token: this join token was used at {token.used_at:%Y-%m-%d %H:%M} UTC, and works "
            "once: have a new one made.",
            field="token",
            code="join_token_used",
        )


def _spend(token: JoinToken) -> None:
    """Use the token up; of two at once the second waits here, and is refused."""
    unused = JoinToken.objects.filter(pk=token.pk, used_at__isnull=True)
    if not unused.update(used_at=timezone.now()):
        token.refresh_from_db()
        _check_unused(token)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadInput(
            "name: write letters, digits, - and _, a letter or digit first, 63 at most.",
            field="name",
            code="bad_node_name",
        )
    if Node.objects.filter(name__iexact=name, removed_at__isnull=True).exists():
        raise Conflict(
            f"name: a node is called {name} already: pick another name, or remove that node first.",
            field="name",
            code="node_name_taken",
            name=name,
        )
