"""Django's handle on the app."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Names the app for Django, and says what runs hold of nodes."""

    name = "studio.jobs"

    def ready(self) -> None:
        from studio.compute.rooms import register  # models load after apps
        from studio.jobs.scheduler import list_occupants

        register(list_occupants)
