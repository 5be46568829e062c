"""`manage.py node_token NAME [--file PATH]`: the token a node signs in with."""

import os
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from studio.compute.services import has_token, make_node_token


class Command(BaseCommand):
    help = "Make a node and its token. The token is shown once; making another ends the former."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        parser.add_argument(
            "--file", type=Path, help="keep the token here (0600); one that still holds is kept"
        )

    def handle(self, *, name: str, file: Path | None, **options: Any) -> None:
        if file and file.exists() and has_token(name=name, raw=file.read_text().strip()):
            return
        try:
            raw = make_node_token(name=name)
        except ValidationError as error:
            raise CommandError(f"name: {'; '.join(error.messages)}") from error
        if file:
            _write_secret(file, raw)
        else:
            self.stdout.write(raw)


def _write_secret(path: Path, raw: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(raw + "\n")
    fresh.replace(path)
