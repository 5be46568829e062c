"""Services for datasets that people make on the dashboard: upload one, keep its good rows."""

import tempfile
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

import yaml

from engine.specs.formats import FormatName, read_row
from engine.specs.messages import parse_object
from studio.accounts.models import User
from studio.core.errors import NotFound
from studio.hub.access import check_may_write
from studio.hub.blobs import store_blob
from studio.hub.content import open_blob
from studio.hub.models import Commit, Kind, Repo, Visibility
from studio.hub.reports import get_data_file, iter_rows, read_report
from studio.hub.services import Changes, RepoName, Words, commit_files, create_repo

DATA_FILE = "train.jsonl"
_SPOOL_BYTES = 8 * 2**20


@dataclass(frozen=True)
class NewDataset:
    """What the person wrote beside the file."""

    name: str
    visibility: str = Visibility.PRIVATE
    summary: str = ""
    path: str = DATA_FILE
    """What the file is called in the repo."""


def upload_dataset(*, by: User, file: BinaryIO, wanted: NewDataset) -> Repo:
    """Make a dataset of a file, kept byte for byte, bad rows too.

    Raises:
        BadInput: the name is none.
        Conflict: the name is taken.
    """
    name = RepoName(Kind.DATASET, by.username, wanted.name)
    repo = create_repo(by=by, wanted=name, visibility=wanted.visibility, summary=wanted.summary)
    try:
        added = {
            wanted.path: store_blob(source=file),
            "README.md": store_blob(source=BytesIO(_write_card(wanted).encode())),
        }
        commit_files(by=by, repo=repo, changes=Changes(added), words=Words("Upload the dataset"))
    except BaseException:
        repo.delete()  # never a half-made thing
        raise
    repo.refresh_from_db()
    return repo


def keep_good_rows(*, by: User, repo: Repo) -> Commit:
    """Make a revision without the bad rows; the one before stays in the history.

    Raises:
        NotFound, Forbidden: the caller may not write here.
        BadInput: it has no one data file.
    """
    check_may_write(by, repo)
    head = repo.head
    if head is None:
        raise NotFound
    path, blob = get_data_file(head)
    report = read_report(blob)
    if report.num_bad == 0:
        return head
    with (
        open_blob(blob) as source,
        tempfile.SpooledTemporaryFile(_SPOOL_BYTES) as good,
    ):
        for _, number, line in iter_rows(source):
            if line.strip() and _is_good(line, number, report.format):
                good.write(line.removeprefix(b"\xef\xbb\xbf") + b"\n")
        kept = store_blob(source=good)  # type: ignore[arg-type]
    words = Words(f"Keep the {report.num_good} good rows and drop {report.num_bad}")
    return commit_files(by=by, repo=repo, changes=Changes({path: kept}), words=words)


def _is_good(line: bytes, number: int, name: FormatName) -> bool:
    row, problems = parse_object(line, number)
    return not problems and read_row(row, name, number)[0] is not None


def _write_card(wanted: NewDataset) -> str:
    metadata = {"configs": [{"config_name": "default", "data_files": wanted.path}]}
    head = yaml.safe_dump(metadata, sort_keys=False)
    said = f"{wanted.summary}\n\n" if wanted.summary else ""
    return f"---\n{head}---\n\n# {wanted.name}\n\n{said}Rows to train on.\n"
