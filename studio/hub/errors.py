"""What the hub does not have. Hugging Face clients tell the three apart by `hub_code`."""

from studio.core.errors import NotFound


class RepoNotThere(NotFound):
    """No such repo, or not the caller's to know of."""

    hub_code = "RepoNotFound"


class RevisionNotThere(NotFound):
    """The repo has no such branch or commit."""

    code = "revision_not_found"
    hub_code = "RevisionNotFound"


class FileNotThere(NotFound):
    """The commit has no such file."""

    code = "file_not_found"
    hub_code = "EntryNotFound"
