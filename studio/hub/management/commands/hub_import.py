"""`manage.py hub_import SOURCE NAMESPACE/NAME --kind model`: bring a repo into the hub.

SOURCE is a folder, `hf://owner/name@revision`, `hf+https://hub.example/owner/name` or
`modelscope://owner/name`. A token for it comes from ATHANOR_SOURCE_TOKEN and is not kept.
"""

import os
import shutil
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

from studio.accounts.selectors import PLATFORM_USERNAME, get_platform_user
from studio.core.errors import StudioError
from studio.hub.importing import Tell, find_repo, import_folder, list_files, read_name
from studio.hub.remote import fetch_files, list_remote_files, read_source


class Command(BaseCommand):
    help = (
        "Make a public repo of the platform's own hold what a folder or another hub's repo holds."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "source", help="a folder, hf://owner/name@revision, or modelscope://owner/name"
        )
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
        is_remote = "://" in options["source"]
        folder = self._fetch(options) if is_remote else Path(options["source"])
        total = sum(path.stat().st_size for path in list_files(folder))
        with _show_progress(f"store {options['repo']}", total) as tell:
            commit = import_folder(by=get_platform_user(), folder=folder, wanted=wanted, tell=tell)
        if is_remote:
            shutil.rmtree(folder)
        return f"{commit.repo.repo_id}@{commit.sha}"

    def _fetch(self, options: dict[str, Any]) -> Path:
        token = os.environ.get("ATHANOR_SOURCE_TOKEN", "")
        source = read_source(options["source"], options["kind"], token=token)
        files = list_remote_files(source)
        total = sum(file.size_bytes for file in files)
        with _show_progress(f"fetch {source.repo_id}", total) as tell:
            return fetch_files(source, files, tell)


@contextmanager
def _show_progress(name: str, total: int) -> Iterator[Tell]:
    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as progress:
        bar = progress.add_task(name, total=total)
        yield lambda path, num_bytes: progress.update(bar, advance=num_bytes)
