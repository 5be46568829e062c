"""The bytes of a stored file, however the storage keeps them."""

from typing import BinaryIO

from studio.hub.models import Blob
from studio.hub.storage import get_store


def open_blob(blob: Blob) -> BinaryIO:
    """Open a stored file for reading; it seeks, and only what is read is fetched.

    Raises:
        FileNotFoundError: the bytes are not there.
    """
    return get_store().open(blob.sha256)
