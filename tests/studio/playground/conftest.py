"""What the playground's tests share: the gateway's studio, base model and fake server."""

from tests.studio.hub.conftest import hub_dir
from tests.studio.serving.conftest import client_of, server, studio, tiny

__all__ = ["client_of", "hub_dir", "server", "studio", "tiny"]
