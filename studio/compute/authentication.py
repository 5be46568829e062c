"""How a node signs in: `Authorization: Bearer node_...`."""

from dataclasses import dataclass

from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from studio.accounts.models import User
from studio.accounts.selectors import get_platform_user
from studio.compute.models import Node
from studio.compute.services import PREFIX, BadNodeToken, read_node_token


@dataclass(frozen=True)
class NodeAuth:
    """What `request.auth` is for a node."""

    node: Node

    def allows(self, scope: str) -> bool:
        """Let a node read and nothing else."""
        return scope == "read"


class NodeTokenAuthentication(BaseAuthentication):
    """Takes node tokens and leaves any other to the next class."""

    def authenticate(self, request: Request) -> tuple[User, NodeAuth] | None:
        """Return the platform's user, without any role above member, and the node.

        Raises:
            BadNodeToken: it is the token of no node.
        """
        words = get_authorization_header(request).decode("latin-1").split()
        if len(words) != 2 or words[0].lower() != "bearer" or not words[1].startswith(PREFIX):
            return None
        node = read_node_token(words[1])
        platform = get_platform_user()
        platform.is_limited = True
        return platform, NodeAuth(node)

    def authenticate_header(self, request: Request) -> str:
        """Name the scheme, so that a refusal is 401."""
        return "Bearer"


class IsNode(BasePermission):
    """Nodes only."""

    def has_permission(self, request: Request, view: object) -> bool:
        """Let nodes in.

        Raises:
            BadNodeToken: it is somebody else.
        """
        if not isinstance(request.auth, NodeAuth):
            raise BadNodeToken("Send the node's token: Authorization: Bearer node_...")
        return True


def get_node(request: Request) -> Node:
    """Return the node of a request."""
    assert isinstance(request.auth, NodeAuth), "the permission class lets only nodes in"
    return request.auth.node
