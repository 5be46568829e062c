"""Nodes: their tokens and their signs of life."""

import hashlib
import secrets
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone

from studio.compute.models import Node
from studio.core import audit
from studio.core.errors import StudioError

PREFIX = "node_"


class BadNodeToken(StudioError):
    """Not the token of any node."""

    code = "not_signed_in"
    status = 401


class NodeRemoved(StudioError):
    """The token of a node that an administrator has removed: it ends what it still holds."""

    code = "node_removed"
    status = 410


@dataclass(frozen=True)
class Inventory:
    """What a node says it has, and which runs live on it."""

    version: str
    cores: int
    memory_bytes: int
    disk_free_bytes: int
    disk_bytes: int = 0
    runtime: str = "process"
    runtime_problem: str = ""
    runtime_notice: str = ""
    devices: list[dict[str, Any]] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)


@transaction.atomic
def make_node_token(*, name: str) -> str:
    """Return a new token of the node of this name, which is created where new; an old token ends.

    Raises:
        ValidationError: the name is not letters, digits, `-` and `_`.
    """
    raw = PREFIX + secrets.token_urlsafe(32)
    node = Node.objects.select_for_update().filter(name=name).first() or Node(name=name)
    give_token(node, raw)
    audit.record("node.token_made", actor=None, subject=name)
    return raw


def give_token(node: Node, raw: str) -> None:
    """Let the node sign in with this token and no other, also where it had been removed; save it.

    Raises:
        ValidationError: its name is not letters, digits, `-` and `_`.
    """
    node.token_hash = hash_token(raw)
    if node.removed_at is not None:
        node.removed_at = None
        node.is_cordoned = False
    node.full_clean()
    node.save()


def has_token(*, name: str, raw: str) -> bool:
    """Say whether this is the node's present token."""
    return Node.objects.filter(
        name=name, token_hash=hash_token(raw), removed_at__isnull=True
    ).exists()


def read_node_token(raw: str) -> Node:
    """Return the node a token speaks for.

    Raises:
        BadNodeToken: it speaks for none.
        NodeRemoved: it spoke for one that is no more.
    """
    node = Node.objects.filter(token_hash=hash_token(raw)).first()
    if node is None or not raw.startswith(PREFIX):
        raise BadNodeToken("This is not the token of a node: make one with manage.py node_token.")
    if node.removed_at is not None:
        raise NodeRemoved(
            f"The node {node.name} was removed from this studio: join it again to use it."
        )
    return node


def record_heartbeat(*, node: Node, inventory: Inventory) -> Node:
    """Note that the node lives, and what it has now."""
    node.last_seen_at = timezone.now()
    node.version = inventory.version
    node.cores = inventory.cores
    node.memory_bytes = inventory.memory_bytes
    node.disk_free_bytes = inventory.disk_free_bytes
    node.disk_bytes = inventory.disk_bytes
    node.runtime = inventory.runtime
    node.runtime_problem = inventory.runtime_problem
    node.runtime_notice = inventory.runtime_notice
    node.devices = inventory.devices
    node.run_ids = inventory.run_ids
    fields = "last_seen_at version cores memory_bytes disk_free_bytes disk_bytes devices run_ids "
    fields += "runtime runtime_problem runtime_notice"
    node.save(update_fields=fields.split())
    return node


def record_share(
    *, node: Node, cache_bytes: int, cache_limit_bytes: int, share: list[dict[str, Any]]
) -> None:
    """Note what a node's cache holds, and how far its /share is."""
    Node.objects.filter(pk=node.pk).update(
        cache_bytes=cache_bytes, cache_limit_bytes=cache_limit_bytes, share=share
    )


def hash_token(raw: str) -> str:
    """Return what is stored of a token: 32 random bytes need no slow hash."""
    return hashlib.sha256(raw.encode()).hexdigest()
