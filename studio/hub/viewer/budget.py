"""How much of a stored file one request may read: a file that says when that is spent."""

import io
import time
from dataclasses import dataclass
from typing import Any, BinaryIO


class BudgetSpent(Exception):
    """The request has read as much, or as long, as one may."""


@dataclass(frozen=True)
class Budget:
    """How much, and for how long."""

    most_bytes: int
    most_s: float


class MeteredFile(io.RawIOBase):
    """Reads another file and counts the bytes. What it has not read costs nothing."""

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        """Begin to count now."""
        self.file, self.left = file, budget.most_bytes
        self.ends_at = time.monotonic() + budget.most_s

    def readable(self) -> bool:
        """It is for reading."""
        return True

    def seekable(self) -> bool:
        """It seeks, which costs nothing."""
        return True

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go there."""
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        """Return where it stands."""
        return self.file.tell()

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer.

        Raises:
            BudgetSpent: too much has been read, or for too long.
        """
        if self.left <= 0 or time.monotonic() > self.ends_at:
            raise BudgetSpent
        view = memoryview(buffer).cast("B")
        piece = self.file.read(min(len(view), max(self.left, 1)))
        view[: len(piece)] = piece
        self.left -= len(piece)
        return len(piece)

    def close(self) -> None:
        """Close what it reads."""
        if not self.closed:
            self.file.close()
        super().close()
