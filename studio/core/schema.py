"""What OpenAPI leaves out: doors whose shape is somebody else's protocol, and the nodes' own."""

from typing import Any

_FOREIGN = ("/api/internal/", "/v1/", "/api/models", "/api/datasets", "/api/repos", "/api/whoami")


def leave_out_foreign_doors(
    endpoints: list[tuple[str, str, str, Any]],
) -> list[tuple[str, str, str, Any]]:
    """Keep the studio's own API only."""
    return [entry for entry in endpoints if not entry[0].startswith(_FOREIGN)]
