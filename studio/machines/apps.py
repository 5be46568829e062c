"""Django's handle on the app."""

from django.apps import AppConfig


class MachinesConfig(AppConfig):
    """Names the app for Django, and says what machines hold of nodes."""

    name = "studio.machines"

    def ready(self) -> None:
        from studio.compute.holdings import register_holder  # models load after apps
        from studio.compute.rooms import register, register_queue
        from studio.machines.holding import MachineHolder
        from studio.machines.placing import find_first, list_occupants

        register(list_occupants)
        register_queue("machine", find_first)
        register_holder(MachineHolder())
