"""Django's handle on the app."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Names the app for Django."""

    name = "studio.core"
