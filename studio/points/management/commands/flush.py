"""Django's `flush`, which empties every table: the one thing that may take the ledger along."""

from typing import Any

from django.core.management.commands.flush import Command as Flush
from django.db import connections

from studio.points import guards


class Command(Flush):
    def handle(self, **options: Any) -> None:
        connection = connections[options["database"]]
        guards.remove(connection)
        try:
            super().handle(**options)
        finally:
            guards.install(connection)
