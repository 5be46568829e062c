"""Django's handle on the app."""

from django.apps import AppConfig


class JobsConfig(AppConfig):
    """Names the app for Django, and says what runs hold of nodes."""

    name = "studio.jobs"

    def ready(self) -> None:
        from studio.compute.holdings import register_holder  # models load after apps
        from studio.compute.rooms import register, register_queue
        from studio.jobs.holding import RunHolder
        from studio.jobs.scheduler import find_first, list_occupants

        register(list_occupants)
        register_queue("run", find_first)
        register_holder(RunHolder())
