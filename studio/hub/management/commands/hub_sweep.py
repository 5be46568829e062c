"""`manage.py hub_sweep`: remove now what the hub's nightly sweep would remove, or more."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand

from studio.hub.sweeping import SPARED_DAYS, sweep_hub
from studio.hub.xet.services import KEPT_DAYS


class Command(BaseCommand):
    help = "Remove bytes that no commit names. Commits that stay lose nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--spare-days",
            type=float,
            default=SPARED_DAYS,
            help="leave what came in since (default %(default)s): uploads on their way",
        )
        parser.add_argument(
            "--spare-chunks-days",
            type=float,
            default=KEPT_DAYS,
            help="leave chunks stored since (default %(default)s): clients remember them, and an "
            "upload that refers to a chunk that is gone is refused until they forget",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        count = sweep_hub(spared_days=options["spare_days"], xorb_days=options["spare_chunks_days"])
        self.stdout.write(f"{count} objects removed")
