"""Django's handle on the app."""

from django.apps import AppConfig


class ServingConfig(AppConfig):
    """Names the app for Django."""

    name = "studio.serving"
