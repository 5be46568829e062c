"""What the hub does not have. Hugging Face clients tell the three apart by `hub_code`."""

from studio.core.errors import Forbidden, NotFound


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


class RepoGated(Forbidden):
    """The repo's files are for who has asked and was let in."""

    code = "repo_gated"
    hub_code = "GatedRepo"

    def __init__(self, repo_id: str) -> None:
        """Say where to ask."""
        message = (
            f"Access to {repo_id} is restricted: ask for it on the repo's page, then try again."
        )
        super().__init__(message, field="repo", repo=repo_id)
