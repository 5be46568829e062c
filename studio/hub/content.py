"""The bytes of a stored file, however the storage keeps them."""

from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from studio.hub.models import Blob
from studio.hub.storage import get_store
from studio.hub.xet.reading import open_xet_file


def open_blob(blob: Blob) -> BinaryIO:
    """Open a stored file for reading; it seeks, and only what is read is fetched.

    Raises:
        FileNotFoundError: the bytes are not there.
    """
    return prepare_open(blob)()


def prepare_open(blob: Blob) -> Callable[[], BinaryIO]:
    """Return what opens a stored file, without the database: for threads that have none."""
    if blob.xet is not None:
        return partial(open_xet_file, blob.xet)
    return partial(get_store().open, blob.sha256)
