"""Django's handle on the app."""

from importlib import import_module

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Names the app for Django."""

    name = "studio.accounts"

    def ready(self) -> None:
        """Register the names of the sign-in schemes with OpenAPI."""
        import_module("studio.accounts.openapi")
