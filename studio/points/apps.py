"""Django's handle on the app."""

from django.apps import AppConfig


class PointsConfig(AppConfig):
    """Names the app for Django."""

    name = "studio.points"
