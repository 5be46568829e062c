"""Django's handle on the app."""

from django.apps import AppConfig


class ServingConfig(AppConfig):
    """Names the app for Django and listens to serve runs."""

    name = "studio.serving"

    def ready(self) -> None:
        from studio.jobs.hooks import register  # models load after apps
        from studio.serving.listener import ServeListener

        register("serve", ServeListener())
