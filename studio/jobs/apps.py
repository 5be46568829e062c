"""Django's handle on the app."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Names the app for Django."""

    name = "studio.jobs"
