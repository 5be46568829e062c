"""Django's handle on the app."""

from django.apps import AppConfig


class DriveConfig(AppConfig):
    """Names the app for Django."""

    name = "studio.drive"
