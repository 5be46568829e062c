"""`manage.py node_join_token [--name NAME]`: what lets one machine become a node, once."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from studio.compute.joining import LASTS_S, make_join_token, say_command
from studio.core.errors import StudioError


class Command(BaseCommand):
    help = "Make a one-time join token and print the command that uses it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--name", default="", help="The only name it is for; else any.")
        parser.add_argument("--minutes", type=int, default=LASTS_S // 60, help="How long it lives.")

    def handle(self, *, name: str, minutes: int, **options: Any) -> None:
        try:
            raw, token = make_join_token(by=None, name=name, lasts_s=minutes * 60)
        except StudioError as error:
            raise CommandError(error.message) from error
        self.stdout.write(say_command(raw, token))
