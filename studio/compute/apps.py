"""Django's handle on the app."""

from django.apps import AppConfig


class ComputeConfig(AppConfig):
    """Names the app for Django."""

    name = "studio.compute"
