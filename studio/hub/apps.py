"""Django's handle on the app."""

from django.apps import AppConfig


class HubConfig(AppConfig):
    """Names the app for Django."""

    name = "studio.hub"
