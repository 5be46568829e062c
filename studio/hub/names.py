"""What repos and files may be called. Each refusal is one sentence that names the field."""

import re

from studio.core.errors import BadInput

MAX_NAME = 96
MAX_PATH = 1024
MAX_SEGMENT_BYTES = 255
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$")
_SHA = re.compile(r"^[0-9a-f]{7,40}$")


def check_repo_name(name: str, *, field: str = "name") -> str:
    """Return a repo's name.

    Raises:
        BadInput: it is no name; the sentence says what one is.
    """
    ends_ill = name.endswith((".", "-", ".git", ".ipynb"))
    if not _NAME.match(name) or ends_ill or ".." in name or "--" in name or len(name) > MAX_NAME:
        message = (
            f"{field}: {name[:120]!r} cannot name a repo; begin with a letter or digit, go on with "
            f"letters, digits, '.', '_' or '-' (no '..', no '--'), {MAX_NAME} characters at most."
        )
        raise BadInput(message, field=field, code="bad_name", name=name[:120])
    return name


def split_repo_id(repo_id: str, *, field: str = "repo") -> tuple[str, str]:
    """Return namespace and name of `namespace/name`.

    Raises:
        BadInput: it is not of that form.
    """
    namespace, slash, name = repo_id.partition("/")
    if not slash or not namespace:
        message = f"{field}: write namespace/name, not {repo_id[:120]!r}."
        raise BadInput(message, field=field, code="bad_repo_id")
    return namespace, check_repo_name(name, field=field)


def check_path(path: str, *, field: str = "path") -> str:
    """Return the path of a file in a repo: relative, plain, the same on every system.

    Raises:
        BadInput: it could lead out of a folder, or is no path on some system.
    """
    wrong = _find_wrong(path)
    if wrong:
        shown = path[:120].encode("utf-8", "replace").decode()
        message = f"{field}: {shown!r} cannot be a file's path: {wrong}."
        raise BadInput(message, field=field, code="bad_path", path=shown)
    return path


def is_commit_prefix(revision: str) -> bool:
    """Say whether a revision may be the beginning of a commit's sha, 7 digits at least."""
    return bool(_SHA.match(revision))


def _find_wrong(path: str) -> str | None:
    if not path:
        return "it is empty"
    if len(path) > MAX_PATH:
        return f"it has more than {MAX_PATH} characters"
    if path.startswith("/"):
        return "write it relative to the repo, without a leading '/'"
    if "\\" in path:
        return "separate folders with '/', not with a backslash"
    if not path.isprintable():
        return "it holds a control character"
    segments = path.split("/")
    if any(segment in {"", ".", ".."} for segment in segments):
        return "it has an empty, '.' or '..' part"
    if segments[0].lower() == ".git":
        return "'.git' is git's own"
    if any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        return f"a part of it has more than {MAX_SEGMENT_BYTES} bytes"
    return None
