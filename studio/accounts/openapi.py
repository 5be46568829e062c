"""How OpenAPI names the token scheme. Importing this module registers it."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension


class PersonalTokenScheme(OpenApiAuthenticationExtension):
    """`Authorization: Bearer ath_...`."""

    target_class = "studio.accounts.authentication.PersonalTokenAuthentication"
    name = "personalToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Describe the scheme."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "ath_..."}


class BrowserSessionScheme(OpenApiAuthenticationExtension):
    """The browser's cookie."""

    target_class = "studio.accounts.authentication.BrowserSessionAuthentication"
    name = "browserSession"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Describe the scheme."""
        return {"type": "apiKey", "in": "cookie", "name": "athanor_session"}


class MachineTokenScheme(PersonalTokenScheme):
    """`Authorization: Bearer mach_...`."""

    target_class = "studio.machines.machine_tokens.MachineTokenAuthentication"
    name = "machineToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Describe the scheme."""
        return {"type": "http", "scheme": "bearer", "bearerFormat": "mach_..."}
