"""What the drive refuses, and how the file system's refusals are said to people."""

import errno
from typing import Any

from studio.core.errors import BadInput, Conflict, NotFound, StudioError


class BadPath(BadInput):
    """A path or name that no file of the drive can have."""

    code = "bad_path"


class DriveFull(StudioError):
    """The bytes do not fit into the quota. Nothing is deleted for it."""

    code = "drive_full"
    status = 413

    def __init__(self, message: str = "", **params: Any) -> None:
        """Say what to do."""
        super().__init__(
            message or "The drive is full: delete something or empty the trash, then try again.",
            **params,
        )


class Changed(StudioError):
    """The file is another than the one that was read."""

    code = "file_changed"
    status = 412


class BadArchive(BadInput):
    """A zip file that is not unpacked."""

    code = "bad_archive"


_SAID: dict[int, StudioError] = {
    errno.ENOENT: NotFound("path: there is nothing of this name.", field="path"),
    errno.EEXIST: Conflict("path: this name is taken here.", field="path", code="name_taken"),
    errno.ENOTDIR: BadPath("path: a part of it is a file or a link, not a folder.", field="path"),
    errno.EISDIR: BadPath("path: this is a folder, not a file.", field="path"),
    errno.ELOOP: BadPath("path: links are shown, never followed.", field="path"),
    errno.ENXIO: BadPath("path: this is not a regular file.", field="path"),
    errno.ENAMETOOLONG: BadPath("path: a name has at most 255 bytes.", field="path"),
    errno.EILSEQ: BadPath("path: the disk does not take such a name.", field="path"),
    errno.EINVAL: BadPath("path: a folder cannot go into itself.", field="path"),
    errno.ENOTEMPTY: Conflict("path: this name is taken here.", field="path", code="name_taken"),
    errno.EDQUOT: DriveFull(),
    errno.ENOSPC: DriveFull(),
    errno.EFBIG: DriveFull(),
    errno.EACCES: BadPath("path: the studio may not touch this file.", field="path"),
    errno.EPERM: BadPath("path: the studio may not touch this file.", field="path"),
    errno.EBUSY: Conflict(
        "path: this is in use; try again in a moment.", field="path", code="in_use"
    ),
}


def say(error: OSError) -> Exception:
    """Return what a refusal of the file system means to a person; a real fault as it is."""
    return _SAID.get(error.errno or 0, error)
