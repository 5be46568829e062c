"""Django's handle on the app."""

from django.apps import AppConfig


class PlaygroundConfig(AppConfig):
    """Names the app for Django."""

    name = "studio.playground"
