"""What a training would read of a dataset: which files, in which formats, and what is in them."""

import time
from dataclasses import dataclass

from engine.specs.files import FilesUnclear, choose_files
from engine.specs.formats import FormatName
from engine.specs.report import DatasetReport, join_reports
from engine.specs.sources import SourceFormat
from studio.core.errors import BadInput
from studio.hub.datafiles import check_beginning, tell_blob_format
from studio.hub.models import Blob, Commit
from studio.hub.reports import read_report

_MOST_CHECKED = 16
_CHECK_FOR_S = 6.0
_SHOW_AFTER_S = 0.5
_MOST_TOLD = 4


@dataclass(frozen=True)
class Choice:
    """Which files of a dataset are meant, and what their rows look like."""

    split: str = ""
    patterns: tuple[str, ...] = ()
    format: SourceFormat = "auto"


def list_data_files(commit: Commit, choice: Choice | None = None) -> list[tuple[str, Blob]]:
    """Return path and content of each file that a training reads, in the order of their names.

    Raises:
        BadInput: there are none, or it is open which are meant.
    """
    choice = choice or Choice()
    files = {file.path: file.blob for file in commit.files.select_related("blob")}
    repo_id = commit.repo.repo_id
    try:
        chosen = choose_files(
            list(files), where=repo_id, split=choice.split, patterns=choice.patterns
        )
    except FilesUnclear as error:
        message = f"spec.dataset: {error}"
        raise BadInput(
            message, field="spec.dataset", code="dataset_file_unclear", dataset=repo_id
        ) from error
    return [(path, files[path]) for path in chosen]


def report_dataset(
    commit: Commit, choice: Choice | None = None, *, check_for_s: float = _CHECK_FOR_S
) -> DatasetReport:
    """Return what a check of the dataset finds; of a large one its beginning is looked at.

    No further file is begun after `check_for_s` seconds; what was found of each is kept.

    Raises:
        BadInput: there is no file to read, or one that cannot be read.
    """
    choice = choice or Choice()
    files = list_data_files(commit, choice)
    stop_at = time.monotonic() + check_for_s
    reports: list[DatasetReport] = []
    num_bytes = 0.0
    for path, blob in files[:_MOST_CHECKED]:
        if reports and time.monotonic() > stop_at:
            break
        report = _report_file(path, blob, choice.format)
        num_bytes += report.share * blob.size_bytes
        reports.append(_name_file(report, path) if len(files) > 1 else report)
    total = sum(blob.size_bytes for _, blob in files)
    is_whole = len(reports) == len(files) and all(report.is_whole for report in reports)
    share = 1.0 if is_whole else min(1.0, num_bytes / max(total, 1))
    return join_reports(reports, share=share).model_copy(update={"num_files": len(files)})


def find_report(commit: Commit) -> DatasetReport | None:
    """Return the same soon enough for a page, None where there is nothing to train on."""
    try:
        return report_dataset(commit, check_for_s=_SHOW_AFTER_S)
    except BadInput:
        return None


def tell_formats(commit: Commit) -> list[FormatName]:
    """Return the formats that the first files of a dataset are in, each once."""
    try:
        files = list_data_files(commit)[:_MOST_TOLD]
    except BadInput:
        return []
    told = (tell_blob_format(blob, path) for path, blob in files)
    return list(dict.fromkeys(name for name in told if name))


def _report_file(path: str, blob: Blob, name: SourceFormat) -> DatasetReport:
    report = read_report(blob, path) if name == "auto" else None
    return report or check_beginning(blob, path, name)


def _name_file(report: DatasetReport, path: str) -> DatasetReport:
    named = [problem.model_copy(update={"file": path}) for problem in report.problems]
    return report.model_copy(update={"problems": named})
