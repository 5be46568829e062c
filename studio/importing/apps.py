"""Django's handle on the app."""

from django.apps import AppConfig


class ImportingConfig(AppConfig):
    """Names the app for Django."""

    name = "studio.importing"
