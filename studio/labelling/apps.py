"""Django's handle on the app."""

from django.apps import AppConfig


class LabellingConfig(AppConfig):
    """Names the app for Django."""

    name = "studio.labelling"
