"""`manage.py hub_import FOLDER NAMESPACE/NAME --kind model`: bring a folder into the hub."""

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from studio.accounts.selectors import PLATFORM_USERNAME, get_platform_user
from studio.core.errors import StudioError
from studio.hub.importing import find_repo, import_folder, list_files, read_name


class Command(BaseCommand):
    help = "Make a public repo of the platform's own hold what a folder holds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path)
        parser.add_argument("repo", help=f"{PLATFORM_USERNAME}/NAME")
        parser.add_argument("--kind", choices=["model", "dataset"], required=True)
        parser.add_argument(
            "--if-missing", action="store_true", help="leave a repo that is there as it is"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self.stdout.write(self._import(options))
        except StudioError as error:
            raise CommandError(error.message) from error

    def _import(self, options: dict[str, Any]) -> str:
        wanted = read_name(options["kind"], options["repo"])
        repo = find_repo(wanted)
        if options["if_missing"] and repo is not None and repo.head is not None:
            return f"{repo.repo_id}@{repo.head.sha}"
        folder: Path = options["folder"]
        total = sum(path.stat().st_size for path in list_files(folder))
        columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
        console = Console(stderr=True)
        with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
            bar = progress.add_task(options["repo"], total=total)
            commit = import_folder(
                by=get_platform_user(),
                folder=folder,
                wanted=wanted,
                tell=lambda path, num_bytes: progress.update(bar, advance=num_bytes),
            )
        return f"{commit.repo.repo_id}@{commit.sha}"
