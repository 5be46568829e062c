"""How a deployment's server is, in its own words, asked when somebody looks."""

from typing import Any

import httpx

from studio.serving.models import Deployment, DeploymentStatus
from studio.serving.services import get_server_token

_WITHIN_S = 3.0


def ask_health(deployment: Deployment) -> dict[str, Any]:
    """Return `{status, facts}`: `ok` or `failed` as the server says, or `unreachable`."""
    silent: dict[str, Any] = {"status": "unreachable", "facts": {}}
    if deployment.status != DeploymentStatus.READY or not deployment.url:
        return silent
    headers = {"Authorization": f"Bearer {get_server_token(deployment.pk)}"}
    try:
        with httpx.Client(timeout=_WITHIN_S, trust_env=False) as client:
            body = client.get(f"{deployment.url}/health", headers=headers).json()
    except (httpx.TransportError, ValueError):
        return silent
    if not isinstance(body, dict):
        return silent
    facts = {name: value for name, value in body.items() if name != "status"}
    return {"status": str(body.get("status", "failed")), "facts": facts}
